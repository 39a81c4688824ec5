"""The newest states of Stripe's objects, as we know them: kept if newer, and found by payment."""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy.orm import Session

from billing.context import Context
from billing.postgres import arrays
from billing.stripe.types import KINDS, Facts
from billing.stripe.versions import digest_of, rank_of, written


class State(NamedTuple):
    """What Stripe says of an object, since when, and whose it is."""

    facts: Facts
    at: dt.datetime
    account_id: int | None = None


class Kept(NamedTuple):
    """A state that is newer than what was known: `before`, None if nothing was."""

    before: Facts | None


_KEEP = """
WITH new AS (
    SELECT id, kind, customer, account_id, facts, version_at, rank::bigint[] AS rank, digest
    FROM unnest(%(ids)s::text[], %(kinds)s::text[], %(customers)s::text[], %(accounts)s::bigint[],
                %(facts)s::jsonb[], %(version_at)s::timestamptz[], %(ranks)s::text[],
                %(digests)s::bytea[])
        AS given (id, kind, customer, account_id, facts, version_at, rank, digest)
), before AS (
    SELECT o.id, o.kind, o.facts FROM new JOIN billing.stripe_objects AS o USING (id)
), kept AS (
    INSERT INTO billing.stripe_objects AS known
        (id, kind, customer, account_id, facts, version_at, rank, digest, recorded_at)
    SELECT *, %(now)s FROM new ORDER BY id
    ON CONFLICT (id) DO UPDATE
    SET kind = excluded.kind, facts = excluded.facts, version_at = excluded.version_at,
        rank = excluded.rank, digest = excluded.digest, recorded_at = excluded.recorded_at,
        customer = COALESCE(excluded.customer, known.customer),
        account_id = COALESCE(known.account_id, excluded.account_id)
    WHERE (excluded.version_at, excluded.rank, excluded.digest)
        > (known.version_at, known.rank, known.digest)
    RETURNING known.id
)
SELECT kept.id, before.kind, before.facts FROM kept LEFT JOIN before USING (id)
"""
_LINK = """
INSERT INTO billing.stripe_links (from_id, to_id)
SELECT * FROM unnest(%(from_ids)s::text[], %(to_ids)s::text[]) ON CONFLICT DO NOTHING
"""


def keep(ctx: Context, facts: Facts, *, account_id: int | None, version_at: dt.datetime) -> bool:
    """Keep a state if it is newer than the one that is known; whether it was."""
    state = State(facts, version_at, account_id)
    return keep_all(ctx, [state])[0] is not None


def keep_all(ctx: Context, states: Sequence[State]) -> list[Kept | None]:
    """Keep those of these states that are the newest; None for each that is not.

    Call it under the accounts' locks: what another transaction writes meanwhile is not seen.
    """
    shown = [written(state.facts) for state in states]
    versions = [
        (state.at, [int(each) for each in rank_of(state.facts)], digest_of(text))
        for state, text in zip(states, shown, strict=True)
    ]
    newest: dict[str, int] = {}
    for place, state in enumerate(states):
        best = newest.setdefault(state.facts.id, place)
        if versions[place] > versions[best]:
            newest[state.facts.id] = place
    places = list(newest.values())
    chosen = [states[place] for place in places]
    rows = ctx.session.connection().exec_driver_sql(
        _KEEP,
        {
            "ids": arrays.texts(newest),
            "kinds": arrays.texts([each.facts.KIND for each in chosen]),
            "customers": arrays.texts([each.facts.customer for each in chosen]),
            "accounts": arrays.numbers([each.account_id for each in chosen]),
            "facts": arrays.texts([shown[place] for place in places]),
            "version_at": arrays.moments([each.at for each in chosen]),
            "ranks": arrays.texts([arrays.numbers(versions[place][1]) for place in places]),
            "digests": arrays.binaries([versions[place][2] for place in places]),
            "now": ctx.now,
        },
    )
    kept: list[Kept | None] = [None] * len(states)
    for object_id, kind, before in rows.all():
        kept[newest[object_id]] = Kept(KINDS[kind].from_json(before) if kind else None)
    _link(ctx.session, [state.facts for state in states])
    return kept


def _link(session: Session, found: Iterable[Facts]) -> None:
    """Older states count too: two objects that were of one payment stay so."""
    pairs = sorted({(each.id, other) for each in found for other in each.links})
    if pairs:
        from_ids, to_ids = zip(*pairs, strict=True)
        session.connection().exec_driver_sql(
            _LINK, {"from_ids": arrays.texts(from_ids), "to_ids": arrays.texts(to_ids)}
        )


_PAYMENTS = """
WITH RECURSIVE reached (id) AS (
    SELECT unnest(%(ids)s::text[])
    UNION
    SELECT next.id FROM reached CROSS JOIN LATERAL (
        SELECT to_id AS id FROM billing.stripe_links WHERE from_id = reached.id
        UNION ALL
        SELECT from_id FROM billing.stripe_links WHERE to_id = reached.id) AS next
)
SELECT reached.id, o.kind, o.facts,
       ARRAY(SELECT to_id FROM billing.stripe_links AS l WHERE l.from_id = reached.id)
FROM reached LEFT JOIN billing.stripe_objects AS o USING (id) ORDER BY reached.id
"""


def of_payment(session: Session, object_id: str) -> list[Facts]:
    """All objects that belong to the same payment as this one, itself included."""
    return of_payments(session, [object_id])[object_id]


def of_payments(session: Session, object_ids: Iterable[str]) -> dict[str, list[Facts]]:
    """For each of these objects all that belong to the same payment: one list for one payment."""
    asked = {"ids": arrays.texts(dict.fromkeys(object_ids))}
    rows = session.connection().exec_driver_sql(_PAYMENTS, asked).all()
    payments: dict[str, list[Facts]] = {}
    members: dict[str, set[str]] = {row[0]: {row[0]} for row in rows}
    for from_id, _, _, links in rows:
        for to_id in links:
            one, other = members[from_id], members[to_id]
            if one is not other:
                one |= other
                members.update(dict.fromkeys(other, one))
    by_group: dict[int, list[Facts]] = {}
    for object_id, kind, facts, _ in rows:
        payment = payments[object_id] = by_group.setdefault(id(members[object_id]), [])
        if kind is not None:
            payment.append(KINDS[kind].from_json(facts))
    return payments


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


def of_accounts(session: Session, account_ids: Iterable[int], kind: str) -> dict[int, list[Facts]]:
    """The objects of one kind of these accounts, by account."""
    rows = session.connection().exec_driver_sql(
        "SELECT account_id, facts FROM billing.stripe_objects"
        " WHERE account_id = ANY(%(ids)s::bigint[]) AND kind = %(kind)s ORDER BY id",
        {"ids": arrays.numbers(account_ids), "kind": kind},
    )
    found: dict[int, list[Facts]] = {}
    for account_id, facts in rows.all():
        found.setdefault(account_id, []).append(KINDS[kind].from_json(facts))
    return found
