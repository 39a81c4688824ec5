"""The references that we issue: ISO 11649, one for each invoice, once, all of one length.

One length, so that none is the beginning of another; check digits, so that a slip of the hand is
noticed.
"""

from stdnum.iso7064 import mod_97_10

#: Digits behind RF and the check digits: ten thousand million invoices.
DIGITS = 10


def reference(number: int) -> str:
    """The creditor reference of our n-th invoice, such as RF18 0000000001 without the blank."""
    body = f"{number:0{DIGITS}d}"
    assert len(body) == DIGITS, "a reference has room for ten digits"
    return f"RF{mod_97_10.calc_check_digits(f'{body}RF')}{body}"
