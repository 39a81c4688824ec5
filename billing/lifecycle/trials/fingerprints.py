"""Who is the same: what a customer shows of himself, made comparable, and kept as a digest.

An identity is an e-mail address without its decorations, the domain of a company, a card's
fingerprint, or a payer's IBAN. One trial for each is the rule (`fingerprint_rows`).
"""

import hashlib
from typing import NamedTuple

#: Domains that say nothing of who writes: providers of mail for everyone.
PUBLIC_DOMAINS = frozenset(
    {
        "gmail.com",
        "googlemail.com",
        "outlook.com",
        "hotmail.com",
        "live.com",
        "msn.com",
        "yahoo.com",
        "ymail.com",
        "aol.com",
        "icloud.com",
        "me.com",
        "mac.com",
        "proton.me",
        "protonmail.com",
        "pm.me",
        "gmx.com",
        "gmx.de",
        "gmx.net",
        "web.de",
        "t-online.de",
        "freenet.de",
        "mail.com",
        "mail.ru",
        "yandex.com",
        "yandex.ru",
        "zoho.com",
        "fastmail.com",
        "tutanota.com",
        "orange.fr",
        "free.fr",
        "laposte.net",
        "libero.it",
        "qq.com",
        "163.com",
        "126.com",
        "naver.com",
        "rediffmail.com",
        "example.com",
    }
)
#: Google reads these as one, and ignores dots in the name.
_GOOGLE = frozenset({"gmail.com", "googlemail.com"})


class Identity(NamedTuple):
    """`kind`: email, domain, card or iban. `digest`: it tells two apart, and shows neither."""

    kind: str
    digest: bytes


def _of(kind: str, value: str) -> Identity:
    return Identity(kind, hashlib.sha256(f"{kind}:{value}".encode()).digest())


def of_email(address: str) -> list[Identity]:
    """The identities of an e-mail address: itself, and its domain where that is a company's."""
    name, at, domain = address.strip().lower().rpartition("@")
    if not at or not name or not domain:
        return []
    domain = domain.rstrip(".")
    name = name.partition("+")[0]
    if domain in _GOOGLE:
        name, domain = name.replace(".", ""), "gmail.com"
    found = [_of("email", f"{name}@{domain}")]
    return found if domain in PUBLIC_DOMAINS else [*found, _of("domain", domain)]


def of_iban(iban: str) -> Identity:
    """The identity of a payer's bank account."""
    return _of("iban", "".join(iban.split()).upper())


def of_card(fingerprint: str) -> Identity:
    """The identity of a card: Stripe's fingerprint of its number."""
    return _of("card", fingerprint)
