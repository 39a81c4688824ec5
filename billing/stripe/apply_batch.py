"""Events applied many at once: the usual ones, of accounts that are known, by what they carry.

What is unusual about an event (its account must be looked for, its prices learned) is left to
`billing.stripe.apply_one.apply`, which takes one. Both do what follows by `billing.stripe.sync`.
"""

import datetime as dt
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy.orm import Session

from billing.context import Context
from billing.errors import Rejected
from billing.host import accounts
from billing.stripe import apply_one, catalog, events, inbox, object_rows, sync
from billing.stripe.apply_one import Fetched, Guard
from billing.stripe.catalog import Catalog
from billing.stripe.errors import ForeignProduct
from billing.stripe.sync import Found
from billing.stripe.types import CatalogPrice, Facts
from models.stripe import StripeEvent


class Taken(NamedTuple):
    """A row of the inbox that this transaction has locked, and what Stripe says now, if asked."""

    row: StripeEvent
    fetched: Fetched | None = None


class _Read(NamedTuple):
    row: StripeEvent
    facts: Facts
    at: dt.datetime


def apply_all(ctx: Context, taken: Sequence[Taken], *, guard: Guard) -> list[StripeEvent]:
    """Apply the usual ones of these events; returns their rows, which say what became of them.

    Nothing is done about the others. What is wrong with an event its row says. Raises a Rejected
    for what shows too late for that: one event of the set breaks it, and the others are innocent.
    """
    done: list[StripeEvent] = []
    read = [each for one in taken if (each := _read(ctx, one, done, guard=guard))]
    prices = catalog.load(ctx.session, [p for each in read for p in catalog.prices_of(each.facts)])
    usual = [each for each in read if _is_explained(each, prices, done, now=ctx.now)]
    customers = _customers(ctx.session, usual)
    owners = accounts.lock_customers(ctx.session, set(customers.values())) if customers else {}
    found = [
        (each.row, Found(each.facts, each.at, owner))
        for each in usual
        if (owner := owners.get(customers.get(each.facts.id, ""))) and not owner.is_deleted
    ]
    said = sync.bring_up(ctx, [one for _, one in found], prices=prices)
    for (row, one), facts in zip(found, said, strict=True):
        inbox.finish(row, "applied", now=ctx.now, facts=facts)
        row.account_id = one.account.id
        done.append(row)
    return done


def _read(ctx: Context, taken: Taken, done: list[StripeEvent], *, guard: Guard) -> _Read | None:
    """What the event's object is; None if it is done, or not usual."""
    fetched = taken.fetched
    if fetched is not None and (fetched.object is None or fetched.prices):
        return None
    try:
        event = events.of_payload(taken.row.payload, is_kept=True)
        known = apply_one.read(ctx, event, guard=guard, fetched=fetched)
    except Rejected as error:
        apply_one.note(taken.row, error, now=ctx.now)
        done.append(taken.row)
        return None
    if known is None:
        inbox.finish(taken.row, "ignored", now=ctx.now, reason=apply_one.UNHANDLED)
        done.append(taken.row)
        return None
    return _Read(taken.row, *known)


def _is_explained(
    read: _Read, prices: Catalog, done: list[StripeEvent], *, now: dt.datetime
) -> bool:
    """Whether the object's prices are known, and ours."""
    if isinstance(read.facts, CatalogPrice):
        return False
    try:
        catalog.check(read.facts, prices)
    except ForeignProduct as error:
        apply_one.note(read.row, error, now=now)
        done.append(read.row)
        return False
    except Rejected:
        return False
    return not catalog.unlearned(read.facts, prices)


def _customers(session: Session, read: Sequence[_Read]) -> dict[str, str]:
    """The customer of each object: the one that it names, else the one of its payment."""
    customers = {each.facts.id: each.facts.customer for each in read if each.facts.customer}
    silent = [each.facts for each in read if each.facts.id not in customers]
    asked = {link for facts in silent for link in facts.links if link not in customers}
    known = object_rows.of_payments(session, asked) if asked else {}
    by_payment: dict[str, str] = {}
    for facts in silent:
        related = [
            customers.get(link) or next((x.customer for x in known.get(link, ()) if x.customer), "")
            for link in sorted(facts.links)
        ]
        if named := next(filter(None, related), None):
            by_payment[facts.id] = named
    return customers | by_payment
