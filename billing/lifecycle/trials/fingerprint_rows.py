"""One trial for each identity: who shows one is recorded, and a repeated one is noticed by a sweep.

Whoever sees an identity records it, in one statement that waits for nobody; the sweep compares.
Of a repeated one the main app hears; a setting refuses the trial.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy.orm import Session

from billing.context import Context
from billing.events import outbox
from billing.events.outbox import NewEvent
from billing.host import accounts
from billing.lifecycle.trials.fingerprints import Identity
from billing.postgres import sql

# Of accounts that have had no trial nothing is kept: who buys at once may try later.
_RECORD = """
INSERT INTO billing.trial_identities (kind, digest, account_id, recorded_at)
SELECT DISTINCT new.kind, new.digest, new.account_id, %(now)s::timestamptz
FROM unnest(%(kinds)s::text[], %(digests)s::bytea[], %(ids)s::bigint[])
     AS new (kind, digest, account_id)
WHERE EXISTS (SELECT FROM billing.trials AS t WHERE t.account_id = new.account_id)
   OR EXISTS (SELECT FROM igny8_tenants AS a WHERE a.id = new.account_id AND a.status = 'trial')
ON CONFLICT DO NOTHING
"""


def record(ctx: Context, found: Mapping[int, Sequence[Identity]]) -> None:
    """Record what accounts show of themselves, of those that are, or have been, in trial."""
    flat = [(account_id, each) for account_id, all_ in found.items() for each in all_]
    if not flat:
        return
    ctx.session.connection().exec_driver_sql(
        _RECORD,
        {
            "kinds": sql.texts([each.kind for _, each in flat]),
            "digests": sql.binaries([each.digest for _, each in flat]),
            "ids": sql.numbers([account_id for account_id, _ in flat]),
            "now": ctx.now,
        },
    )


_NEW = """
SELECT DISTINCT account_id FROM (
    SELECT account_id FROM billing.trial_identities WHERE is_repeated IS NULL
    ORDER BY recorded_at, account_id LIMIT %(limit)s) AS new
"""
#: One comparison after the other: what one has judged, the next sees.
_ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtext('billing.trial_identities'))"
# Of two that are new, the one that was recorded later is the repeated one.
_JUDGE = """
WITH judged AS (
    SELECT mine.kind, mine.digest, mine.account_id, ARRAY(
        SELECT other.account_id FROM billing.trial_identities AS other
        WHERE other.kind = mine.kind AND other.digest = mine.digest
          AND other.account_id <> mine.account_id
          AND (other.is_repeated IS NOT NULL
               OR (other.recorded_at, other.account_id) < (mine.recorded_at, mine.account_id))
        ORDER BY other.recorded_at, other.account_id LIMIT %(named)s) AS others
    FROM billing.trial_identities AS mine
    WHERE mine.is_repeated IS NULL AND mine.account_id = ANY(%(ids)s::bigint[])
)
UPDATE billing.trial_identities AS mine SET is_repeated = cardinality(judged.others) > 0
FROM judged
WHERE (mine.kind, mine.digest, mine.account_id) = (judged.kind, judged.digest, judged.account_id)
RETURNING mine.account_id, mine.kind, judged.others
"""
#: Earlier accounts that an event names.
NAMED = 10


def judge(ctx: Context, *, limit: int) -> list[int]:
    """Compare the identities that are new, up to `limit`; returns the accounts that repeat one.

    Each of them leaves an event `trial.repeated`, once for what it showed at one time. What
    belongs to accounts that others hold is left to the next run.
    """
    connection = ctx.session.connection()
    new = connection.exec_driver_sql(_NEW, {"limit": limit})
    waiting = sorted(row[0] for row in new.all())
    ids = accounts.try_lock(ctx.session, waiting) if waiting else []
    if not ids:
        return []
    connection.exec_driver_sql(_ONE_AT_A_TIME)
    repeats: dict[int, list[tuple[str, list[int]]]] = defaultdict(list)
    asked = {"ids": sql.numbers(ids), "named": NAMED}
    for account_id, kind, others in connection.exec_driver_sql(_JUDGE, asked).all():
        if others:
            repeats[account_id].append((kind, others))
    is_refused = ctx.policy.repeated_trials == "refuse"
    left = [_event(id, repeats[id], is_refused=is_refused) for id in sorted(repeats)]
    outbox.leave_all(ctx, left)
    return sorted(repeats)


def repeated(session: Session, account_ids: Iterable[int]) -> set[int]:
    """Those of these accounts that have shown an identity which had a trial before."""
    rows = session.connection().exec_driver_sql(
        "SELECT account_id FROM billing.trial_identities"
        " WHERE account_id = ANY(%(ids)s::bigint[]) AND is_repeated",
        {"ids": sql.numbers(account_ids)},
    )
    return {row[0] for row in rows.all()}


def forget(session: Session, account_ids: Iterable[int], identity: Identity) -> None:
    """Strike an identity from accounts that never had it: their payment was another's."""
    session.connection().exec_driver_sql(
        "DELETE FROM billing.trial_identities WHERE kind = %(kind)s AND digest = %(digest)s"
        " AND account_id = ANY(%(ids)s::bigint[])",
        {
            "kind": identity.kind,
            "digest": identity.digest,
            "ids": sql.numbers(account_ids),
        },
    )


def _event(account_id: int, seen: Sequence[tuple[str, list[int]]], *, is_refused: bool) -> NewEvent:
    kinds = sorted({kind for kind, _ in seen})
    others = sorted({other for _, each in seen for other in each})[:NAMED]
    payload = {"kinds": kinds, "accounts": others, "is_refused": is_refused}
    return NewEvent("trial.repeated", account_id, payload)
