"""Trial fingerprints: an e-mail address, company domain, card or IBAN, kept only as a digest.

Each is brought to one form first, so that two trials of one customer can be compared. A fingerprint
is recorded when an account shows it, by a statement that waits for no lock; a sweep compares the
fingerprints. A repeated trial leaves an event, and is refused if the policy says so.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy.orm import Session

from billing.context import Context
from billing.events import outbox
from billing.events.outbox import NewEvent
from billing.host import accounts

#: Earlier accounts that an event names.
NAMED = 10
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


# Nothing is kept of accounts that have had no trial: a customer who buys at once may try later.
_RECORD = """
INSERT INTO billing.trial_identities (kind, digest, account_id, recorded_at)
SELECT DISTINCT new.kind, new.digest, new.account_id, %(now)s::timestamptz
FROM unnest(%(kinds)s::text[], %(digests)s::bytea[], %(ids)s::bigint[])
     AS new (kind, digest, account_id)
WHERE EXISTS (SELECT FROM billing.trials AS t WHERE t.account_id = new.account_id)
   OR EXISTS (SELECT FROM igny8_tenants AS a WHERE a.id = new.account_id AND a.status = 'trial')
ON CONFLICT DO NOTHING
"""


def record(ctx: Context, shown: Mapping[int, Sequence[Fingerprint]]) -> None:
    """Record the fingerprints that accounts have shown, for accounts that had or have a trial."""
    pairs = [(account_id, item) for account_id, items in shown.items() for item in items]
    if not pairs:
        return
    ctx.session.connection().exec_driver_sql(
        _RECORD,
        {
            "kinds": [fingerprint.kind for _, fingerprint in pairs],
            "digests": [fingerprint.digest for _, fingerprint in pairs],
            "ids": [account_id for account_id, _ in pairs],
            "now": ctx.now,
        },
    )


_NEW = """
SELECT DISTINCT account_id FROM (
    SELECT account_id FROM billing.trial_identities WHERE is_repeated IS NULL
    ORDER BY recorded_at, account_id LIMIT %(limit)s) AS new
"""
#: One comparison at a time: each sees what the one before it has written.
_ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtext('billing.trial_identities'))"
# Of two new ones, the one that was recorded later is the repeated one.
_COMPARE = """
WITH compared AS (
    SELECT new.kind, new.digest, new.account_id, ARRAY(
        SELECT other.account_id FROM billing.trial_identities AS other
        WHERE other.kind = new.kind AND other.digest = new.digest
          AND other.account_id <> new.account_id
          AND (other.is_repeated IS NOT NULL
               OR (other.recorded_at, other.account_id) < (new.recorded_at, new.account_id))
        ORDER BY other.recorded_at, other.account_id LIMIT %(named)s) AS others
    FROM billing.trial_identities AS new
    WHERE new.is_repeated IS NULL AND new.account_id = ANY(%(ids)s::bigint[])
)
UPDATE billing.trial_identities AS new SET is_repeated = cardinality(compared.others) > 0
FROM compared
WHERE (new.kind, new.digest, new.account_id)
    = (compared.kind, compared.digest, compared.account_id)
RETURNING new.account_id, new.kind, compared.others
"""


def compare_new(ctx: Context, *, limit: int) -> list[int]:
    """Compare up to `limit` new fingerprints; returns the accounts whose trial is a repeated one.

    Each of these leaves an event `trial.repeated`, once for what was new together. Accounts that
    another transaction has locked are left to the next run.
    """
    connection = ctx.session.connection()
    waiting = [row[0] for row in connection.exec_driver_sql(_NEW, {"limit": limit})]
    ids = accounts.try_lock(ctx.session, waiting) if waiting else []
    if not ids:
        return []
    connection.exec_driver_sql(_ONE_AT_A_TIME)
    repeats: dict[int, list[tuple[str, list[int]]]] = defaultdict(list)
    values = {"ids": ids, "named": NAMED}
    for account_id, kind, others in connection.exec_driver_sql(_COMPARE, values):
        if others:
            repeats[account_id].append((kind, others))
    is_refused = ctx.policy.repeated_trials == "refuse"
    events = [_event(id, repeats[id], is_refused=is_refused) for id in sorted(repeats)]
    outbox.leave_all(ctx, events)
    return sorted(repeats)


def repeated(session: Session, account_ids: Iterable[int]) -> set[int]:
    """Return those of these accounts that have shown a fingerprint of an earlier trial."""
    rows = session.connection().exec_driver_sql(
        "SELECT account_id FROM billing.trial_identities"
        " WHERE account_id = ANY(%(ids)s::bigint[]) AND is_repeated",
        {"ids": list(account_ids)},
    )
    return {row[0] for row in rows}


def forget(session: Session, account_ids: Iterable[int], fingerprint: Fingerprint) -> None:
    """Delete a fingerprint of accounts that it does not belong to: the payment was another's."""
    session.connection().exec_driver_sql(
        "DELETE FROM billing.trial_identities WHERE kind = %(kind)s AND digest = %(digest)s"
        " AND account_id = ANY(%(ids)s::bigint[])",
        {**fingerprint._asdict(), "ids": list(account_ids)},
    )


def _event(
    account_id: int, repeats: Sequence[tuple[str, list[int]]], *, is_refused: bool
) -> NewEvent:
    kinds = sorted({kind for kind, _ in repeats})
    others = sorted({other for _, earlier in repeats for other in earlier})[:NAMED]
    payload = {"kinds": kinds, "accounts": others, "is_refused": is_refused}
    return NewEvent("trial.repeated", account_id, payload)
