"""Creditor references (ISO 11649): one for each invoice, once, all of one length.

One length, so that no reference is the beginning of another. Check digits reveal typing errors.
Zeros in front of the body do not change the check digits, so banks add and remove them freely.
"""

from stdnum.iso7064 import mod_97_10

#: Digits after RF and the check digits: enough for ten thousand million invoices.
DIGITS = 10


def reference(number: int) -> str:
    """The reference of the n-th invoice, such as RF18 0000000001 without the blank."""
    body = f"{number:0{DIGITS}d}"
    assert len(body) == DIGITS, "a reference has room for ten digits"
    return f"RF{mod_97_10.calc_check_digits(f'{body}RF')}{body}"


def plain(reference: str) -> str:
    """The reference without zeros in front of its body: one spelling for all that banks make."""
    return reference[:4] + reference[4:].lstrip("0")
