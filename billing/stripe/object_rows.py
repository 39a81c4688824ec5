"""The newest known states of Stripe's objects: stored if newer, and found by payment.

A state is newer by Stripe's time, then by its object's life cycle, for Stripe's times are whole
seconds and events of one second come in any order. A digest tells states of equal rank apart. So
the same state stays, whatever the order of arrival.
"""

import dataclasses
import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from billing.context import Context
from billing.stripe.kinds import KINDS
from billing.stripe.objects.base import Facts


class State(NamedTuple):
    """A state of an object, its time, and the account that it belongs to."""

    facts: Facts
    at: dt.datetime
    account_id: int | None = None


class Stored(NamedTuple):
    """A state that was newer than the one `before` it; None if none was known."""

    before: Facts | None


_STORE = """
WITH new AS (
    SELECT id, kind, customer, account_id, facts::jsonb AS facts, version_at, rank, digest
    FROM jsonb_to_recordset(%(states)s::jsonb)
        AS given (id text, kind text, customer text, account_id bigint, facts text,
                  version_at timestamptz, rank bigint[], digest bytea)
), before AS (
    SELECT o.id, o.kind, o.facts FROM new JOIN billing.stripe_objects AS o USING (id)
), stored AS (
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
SELECT stored.id, before.kind, before.facts FROM stored LEFT JOIN before USING (id)
"""
_LINK = """
INSERT INTO billing.stripe_links (from_id, to_id)
SELECT * FROM unnest(%(from_ids)s::text[], %(to_ids)s::text[]) ON CONFLICT DO NOTHING
"""


def store(ctx: Context, state: State) -> bool:
    """Store a state if it is newer than the known one; whether it was."""
    return store_all(ctx, [state])[0] is not None


def store_all(ctx: Context, states: Sequence[State]) -> list[Stored | None]:
    """Store those of these states that are the newest; None for each that is not.

    Call it under the accounts' locks: it does not see what another transaction writes meanwhile.
    """
    ranks = [[int(part) for part in state.facts.rank] for state in states]
    pairs = sorted({(state.facts.id, other) for state in states for other in state.facts.links})
    texts = [as_json(state.facts) for state in states]
    versions = [
        (state.at, rank, digest_of(text))
        for state, rank, text in zip(states, ranks, texts, strict=True)
    ]
    newest: dict[str, int] = {}
    for place, state in enumerate(states):
        best = newest.setdefault(state.facts.id, place)
        if versions[place] > versions[best]:
            newest[state.facts.id] = place
    given = [_given(states[place], texts[place], *versions[place]) for place in newest.values()]
    rows = ctx.session.connection().exec_driver_sql(
        _STORE, {"states": json.dumps(given), "now": ctx.now}
    )
    stored: list[Stored | None] = [None] * len(states)
    for object_id, kind, before in rows.all():
        stored[newest[object_id]] = Stored(KINDS[kind].from_json(before) if kind else None)
    _link(ctx.session, pairs)
    return stored


def _given(
    state: State, text: str, at: dt.datetime, rank: list[int], digest: bytes
) -> dict[str, object]:
    """The row of a state, for `_STORE`."""
    return {
        "id": state.facts.id,
        "kind": state.facts.KIND,
        "customer": state.facts.customer,
        "account_id": state.account_id,
        "facts": text,
        "version_at": at.isoformat(),
        "rank": rank,
        "digest": f"\\x{digest.hex()}",
    }


def as_json(facts: Facts) -> str:
    """The facts as JSON text, the same wherever they are written."""
    return json.dumps(facts, default=_as_dict, sort_keys=True, separators=(",", ":"))


def _as_dict(facts: Any) -> dict[str, object]:
    """One level of `dataclasses.asdict`, which copies all the levels first."""
    return {name: getattr(facts, name) for name in _names(facts.__class__)}


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple([field.name for field in dataclasses.fields(kind)])


def digest_of(text: str) -> bytes:
    """The digest that tells two states of equal rank apart, of facts `as_json`."""
    return hashlib.sha256(text.encode()).digest()[:16]


def _link(session: Session, pairs: Sequence[tuple[str, str]]) -> None:
    """Link objects of one payment. Links of older states stay."""
    if pairs:
        from_ids, to_ids = zip(*pairs, strict=True)
        session.connection().exec_driver_sql(
            _LINK, {"from_ids": list(from_ids), "to_ids": list(to_ids)}
        )


# Old links may hold a merchant's order reference, which joins nothing.
_PAYMENTS = """
WITH RECURSIVE reached (id) AS (
    SELECT unnest(%(ids)s::text[])
    UNION
    SELECT next.id FROM reached CROSS JOIN LATERAL (
        SELECT to_id AS id FROM billing.stripe_links
        WHERE from_id = reached.id AND to_id ~ '^(in|pi|ch|py)_'
        UNION ALL
        SELECT from_id FROM billing.stripe_links WHERE to_id = reached.id) AS next
)
SELECT reached.id, o.kind, o.facts, o.account_id,
       ARRAY(SELECT to_id FROM billing.stripe_links AS l
             WHERE l.from_id = reached.id AND to_id ~ '^(in|pi|ch|py)_')
FROM reached LEFT JOIN billing.stripe_objects AS o USING (id) ORDER BY reached.id
"""


class PaymentObjects(list[Facts]):
    """The known objects of one payment. `account_id`: the account that it belongs to, if known."""

    account_id: int | None = None


def of_payments(session: Session, object_ids: Iterable[str]) -> dict[str, PaymentObjects]:
    """Read all objects of these objects' payments; objects of one payment share one list.

    All objects of a payment have the same customer, so a link between two customers joins nothing.
    """
    values = {"ids": list(dict.fromkeys(object_ids))}
    rows = session.connection().exec_driver_sql(_PAYMENTS, values).all()
    customers = {row[0]: row[2]["customer"] for row in rows if row[2] and row[2]["customer"]}
    members: dict[str, set[str]] = {row[0]: {row[0]} for row in rows}
    for from_id, _, _, _, links in rows:
        for to_id in links:
            group, other = members[from_id], members[to_id]
            payers = {customers[item] for item in group | other if item in customers}
            if group is not other and len(payers) <= 1:
                group |= other
                members.update(dict.fromkeys(other, group))
    by_group: dict[int, PaymentObjects] = {}
    payments: dict[str, PaymentObjects] = {}
    for object_id, kind, facts, account_id, _ in rows:
        payment = by_group.setdefault(id(members[object_id]), PaymentObjects())
        payments[object_id] = payment
        payment.account_id = payment.account_id or account_id
        if kind is not None:
            payment.append(KINDS[kind].from_json(facts))
    return payments


def read(session: Session, object_id: str) -> Facts | None:
    """Read the object's newest known state."""
    return next(iter(read_all(session, [object_id])), None)


def read_all(session: Session, object_ids: Iterable[str]) -> list[Facts]:
    """Read the newest known states of these objects."""
    rows = session.connection().exec_driver_sql(
        "SELECT kind, facts FROM billing.stripe_objects WHERE id = ANY(%(ids)s::text[])",
        {"ids": sorted(object_ids)},
    )
    return [KINDS[kind].from_json(facts) for kind, facts in rows.all()]


def accounts_of(session: Session, object_ids: Iterable[str]) -> dict[str, int]:
    """The accounts of those of these objects that are known to have one, by the objects' ids."""
    rows = session.connection().exec_driver_sql(
        "SELECT id, account_id FROM billing.stripe_objects"
        " WHERE id = ANY(%(ids)s::text[]) AND account_id IS NOT NULL",
        {"ids": list(object_ids)},
    )
    return {row[0]: row[1] for row in rows.all()}


def count_of_customer(session: Session, customer: str) -> int:
    """Count the known objects of a customer."""
    counted = session.connection().exec_driver_sql(
        "SELECT count(*) FROM billing.stripe_objects WHERE customer = %(customer)s",
        {"customer": customer},
    )
    return int(counted.scalar_one())


def of_kind(session: Session, kind: str, *, after: str, limit: int) -> list[Facts]:
    """Read the next objects of one kind in the order of their ids, from `after` on."""
    rows = session.connection().exec_driver_sql(
        "SELECT facts FROM billing.stripe_objects"
        " WHERE kind = %(kind)s AND id > %(after)s ORDER BY id LIMIT %(limit)s",
        {"kind": kind, "after": after, "limit": limit},
    )
    return [KINDS[kind].from_json(facts) for (facts,) in rows.all()]


def of_accounts(session: Session, account_ids: Iterable[int], kind: str) -> dict[int, list[Facts]]:
    """Read the objects of one kind of these accounts, by account."""
    rows = session.connection().exec_driver_sql(
        "SELECT account_id, facts FROM billing.stripe_objects"
        " WHERE account_id = ANY(%(ids)s::bigint[]) AND kind = %(kind)s ORDER BY id",
        {"ids": list(account_ids), "kind": kind},
    )
    objects: dict[int, list[Facts]] = {}
    for account_id, facts in rows.all():
        objects.setdefault(account_id, []).append(KINDS[kind].from_json(facts))
    return objects


_MOVING = """
SELECT DISTINCT account_id FROM billing.stripe_objects
WHERE account_id = ANY(%(ids)s::bigint[])
  AND kind = 'invoice' AND facts ->> 'moves_balance' = 'true'
"""


def with_moving_balance(session: Session, account_ids: Iterable[int]) -> set[int]:
    """Return those of these accounts with an invoice that moves their balance at Stripe."""
    rows = session.connection().exec_driver_sql(_MOVING, {"ids": list(account_ids)})
    return {account_id for (account_id,) in rows.all()}
