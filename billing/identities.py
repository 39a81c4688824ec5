"""One trial for each identity: who had one is recorded, as digests, and a second one is noticed.

An identity is an e-mail address without its decorations, the domain of a company, a card's
fingerprint, or a payer's IBAN. Of a repeated one the main app hears; a setting refuses it.
"""

import datetime as dt
import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing import arrays, outbox, policy
from billing.outbox import NewEvent

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
#: Two sign-ups at once see each other: one registers after the other.
_ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtext('billing.trial_identities'))"


class Identity(NamedTuple):
    """`kind`: email, domain, card or iban."""

    kind: str
    value: str

    @property
    def digest(self) -> bytes:
        """What is kept of it: it tells two apart, and shows neither."""
        return hashlib.sha256(f"{self.kind}:{self.value}".encode()).digest()


def of_email(address: str) -> list[Identity]:
    """The identities of an e-mail address: itself, and its domain where that is a company's."""
    name, at, domain = address.strip().lower().rpartition("@")
    if not at or not name or not domain:
        return []
    domain = domain.rstrip(".")
    name = name.partition("+")[0]
    if domain in _GOOGLE:
        name, domain = name.replace(".", ""), "gmail.com"
    found = [Identity("email", f"{name}@{domain}")]
    return found if domain in PUBLIC_DOMAINS else [*found, Identity("domain", domain)]


def of_iban(iban: str) -> Identity:
    """The identity of a payer's bank account."""
    return Identity("iban", "".join(iban.split()).upper())


def of_card(fingerprint: str) -> Identity:
    """The identity of a card: Stripe's fingerprint of its number."""
    return Identity("card", fingerprint)


_REGISTER = """
INSERT INTO billing.trial_identities (kind, digest, account_id, recorded_at)
SELECT DISTINCT ON (new.kind, new.digest, new.account_id) new.*, %(now)s
FROM unnest(%(kinds)s::text[], %(digests)s::bytea[], %(ids)s::bigint[])
     AS new (kind, digest, account_id)
ON CONFLICT DO NOTHING
RETURNING account_id
"""
_REPEATS = """
SELECT mine.account_id, mine.kind, other.account_id
FROM billing.trial_identities AS mine
JOIN billing.trial_identities AS other
  ON other.kind = mine.kind AND other.digest = mine.digest
 AND (other.recorded_at, other.account_id) < (mine.recorded_at, mine.account_id)
WHERE mine.account_id = ANY(%(ids)s::bigint[])
ORDER BY mine.account_id, mine.kind, other.account_id
"""
#: Earlier accounts that an event names.
NAMED = 10


def register(
    session: Session, found: Mapping[int, Sequence[Identity]], *, now: dt.datetime
) -> set[int]:
    """Record these accounts' identities; returns the accounts for whom one is a repeated one.

    Each of them leaves an event `trial.repeated`, once. Call it under the accounts' locks.
    """
    flat = [(account_id, each) for account_id, all_ in found.items() for each in all_]
    if not flat:
        return set()
    session.execute(text(_ONE_AT_A_TIME))
    connection = session.connection()
    new = connection.exec_driver_sql(
        _REGISTER,
        {
            "kinds": arrays.texts([each.kind for _, each in flat]),
            "digests": arrays.binaries([each.digest for _, each in flat]),
            "ids": arrays.numbers([account_id for account_id, _ in flat]),
            "now": now,
        },
    )
    ids = {row[0] for row in new.all()}
    repeats: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for mine, kind, other in connection.exec_driver_sql(_REPEATS, {"ids": arrays.numbers(ids)}):
        repeats[mine].append((kind, other))
    is_refused = policy.of(session).repeated_trials == "refuse"
    left = [_event(mine, seen, is_refused=is_refused) for mine, seen in repeats.items()]
    outbox.leave_all(session, left, now=now)
    return set(repeats)


def _event(account_id: int, seen: Sequence[tuple[str, int]], *, is_refused: bool) -> NewEvent:
    kinds = sorted({kind for kind, _ in seen})
    others = sorted({other for _, other in seen})[:NAMED]
    payload = {"kinds": kinds, "accounts": others, "is_refused": is_refused}
    return NewEvent("trial.repeated", account_id, payload)
