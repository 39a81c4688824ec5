"""Trial fingerprints: an e-mail address, company domain, card or IBAN, kept only as a digest.

Each is brought to one form first, so that two trials of one customer can be compared
(`billing.lifecycle.trials.fingerprint_rows`).
"""

import hashlib
from typing import NamedTuple

#: Domains of mail providers for everyone: they name no company.
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
#: Google treats these as one domain, and ignores dots in the name.
_GOOGLE = frozenset({"gmail.com", "googlemail.com"})


class Fingerprint(NamedTuple):
    """A trial fingerprint; `kind`: email, domain, card or iban."""

    kind: str
    digest: bytes


def _of(kind: str, value: str) -> Fingerprint:
    return Fingerprint(kind, hashlib.sha256(f"{kind}:{value}".encode()).digest())


def of_email(address: str) -> list[Fingerprint]:
    """Return the fingerprints of an e-mail address: its own, and its domain's if a company's."""
    name, at, domain = address.strip().lower().rpartition("@")
    if not at or not name or not domain:
        return []
    domain = domain.rstrip(".")
    name = name.partition("+")[0]
    if domain in _GOOGLE:
        name, domain = name.replace(".", ""), "gmail.com"
    own = _of("email", f"{name}@{domain}")
    return [own] if domain in PUBLIC_DOMAINS else [own, _of("domain", domain)]


def of_iban(iban: str) -> Fingerprint:
    """Return the fingerprint of a payer's bank account."""
    return _of("iban", "".join(iban.split()).upper())


def of_card(fingerprint: str) -> Fingerprint:
    """Return the fingerprint of a card, from Stripe's fingerprint of its number."""
    return _of("card", fingerprint)
