"""The newest states of Stripe's objects, as we know them: kept if newer, and found by payment."""

import datetime as dt
import json
from collections.abc import Iterable

from sqlalchemy.orm import Session

from billing import arrays
from billing.stripe.shapes import KINDS, Facts
from billing.stripe.versions import digest_of, rank_of

_KEEP = """
WITH before AS (SELECT kind, facts FROM billing.stripe_objects WHERE id = %(id)s)
INSERT INTO billing.stripe_objects AS known
    (id, kind, customer, account_id, facts, version_at, rank, digest, recorded_at)
VALUES (%(id)s, %(kind)s, %(customer)s, %(account_id)s, %(facts)s::jsonb, %(version_at)s,
        %(rank)s::bigint[], %(digest)s, %(now)s)
ON CONFLICT (id) DO UPDATE
SET kind = excluded.kind, facts = excluded.facts, version_at = excluded.version_at,
    rank = excluded.rank, digest = excluded.digest, recorded_at = excluded.recorded_at,
    customer = COALESCE(excluded.customer, known.customer),
    account_id = COALESCE(known.account_id, excluded.account_id)
WHERE (excluded.version_at, excluded.rank, excluded.digest)
    > (known.version_at, known.rank, known.digest)
RETURNING (SELECT kind FROM before), (SELECT facts FROM before)
"""


def keep(
    session: Session,
    facts: Facts,
    *,
    account_id: int | None,
    version_at: dt.datetime,
    now: dt.datetime,
) -> bool:
    """Keep a state if it is newer than the one that is known; whether it was."""
    is_newer, _ = replace(session, facts, account_id=account_id, version_at=version_at, now=now)
    return is_newer


def replace(
    session: Session,
    facts: Facts,
    *,
    account_id: int | None,
    version_at: dt.datetime,
    now: dt.datetime,
) -> tuple[bool, Facts | None]:
    """As `keep`; returns also the state that it replaced, if there was one.

    Call it under the account's lock: what another transaction writes meanwhile is not seen.
    """
    row = session.connection().exec_driver_sql(
        _KEEP,
        {
            "id": facts.id,
            "kind": facts.KIND,
            "customer": facts.customer,
            "account_id": account_id,
            "facts": json.dumps(facts.as_json()),
            "version_at": version_at,
            "rank": arrays.numbers([int(each) for each in rank_of(facts)]),
            "digest": digest_of(facts),
            "now": now,
        },
    )
    kept = row.first()
    if links := facts.links:
        _link(session, facts.id, links)
    if kept is None:
        return False, None
    kind, before = kept
    return True, KINDS[kind].from_json(before) if kind else None


def _link(session: Session, from_id: str, to_ids: Iterable[str]) -> None:
    session.connection().exec_driver_sql(
        "INSERT INTO billing.stripe_links (from_id, to_id)"
        " SELECT %(from_id)s, unnest(%(to_ids)s::text[]) ON CONFLICT DO NOTHING",
        {"from_id": from_id, "to_ids": arrays.texts(sorted(to_ids))},
    )


_PAYMENT = """
WITH RECURSIVE reached (id) AS (
    SELECT %(id)s::text
    UNION
    SELECT next.id FROM reached CROSS JOIN LATERAL (
        SELECT to_id AS id FROM billing.stripe_links WHERE from_id = reached.id
        UNION ALL
        SELECT from_id FROM billing.stripe_links WHERE to_id = reached.id) AS next
)
SELECT o.kind, o.facts, o.account_id FROM reached JOIN billing.stripe_objects AS o USING (id)
ORDER BY o.id
"""


def of_payment(session: Session, object_id: str) -> list[Facts]:
    """All objects that belong to the same payment as this one, itself included."""
    rows = session.connection().exec_driver_sql(_PAYMENT, {"id": object_id})
    return [KINDS[kind].from_json(facts) for kind, facts, _ in rows.all()]


def read(session: Session, object_id: str) -> Facts | None:
    """The object's newest known state."""
    return next(iter(read_all(session, [object_id])), None)


def read_all(session: Session, object_ids: Iterable[str]) -> list[Facts]:
    """The newest known states of those of these objects that are known."""
    rows = session.connection().exec_driver_sql(
        "SELECT kind, facts FROM billing.stripe_objects WHERE id = ANY(%(ids)s::text[])",
        {"ids": arrays.texts(sorted(object_ids))},
    )
    return [KINDS[kind].from_json(facts) for kind, facts in rows.all()]


def of_kind(session: Session, kind: str, *, after: str, limit: int) -> list[Facts]:
    """The next objects of one kind, in the order of their ids; `after` is the last one had."""
    rows = session.connection().exec_driver_sql(
        "SELECT facts FROM billing.stripe_objects"
        " WHERE kind = %(kind)s AND id > %(after)s ORDER BY id LIMIT %(limit)s",
        {"kind": kind, "after": after, "limit": limit},
    )
    return [KINDS[kind].from_json(facts) for (facts,) in rows.all()]


def of_account(session: Session, account_id: int, kind: str) -> list[Facts]:
    """The account's objects of one kind."""
    rows = session.connection().exec_driver_sql(
        "SELECT facts FROM billing.stripe_objects"
        " WHERE account_id = %(account_id)s AND kind = %(kind)s ORDER BY id",
        {"account_id": account_id, "kind": kind},
    )
    return [KINDS[kind].from_json(facts) for (facts,) in rows.all()]
