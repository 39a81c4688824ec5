"""Resync of one object of Stripe's by an operator, which repairs a difference."""

from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from billing.context import Context
from billing.errors import Rejected
from billing.host import accounts
from billing.lifecycle import status
from billing.stripe import apply, customers
from billing.stripe.apply import Fetched
from billing.stripe.errors import LivemodeMismatch
from billing.stripe.events import Guard
from billing.stripe.kinds import KINDS
from billing.stripe.object_rows import State
from billing.stripe.objects.base import Facts
from billing.stripe.objects.price import CatalogPrice
from billing.stripe.sync import sync


@dataclass(frozen=True, slots=True)
class AccountState:
    """An account's `status` with the reasons of a suspension, its credits, and its plan."""

    status: str
    credits: int
    plan_id: int | None


@dataclass(frozen=True, slots=True)
class Resynced:
    """The result for an object. A price has no account, and no states of one."""

    kind: str
    id: str
    account_id: int | None
    done: dict[str, object] = field(default_factory=dict)
    before: AccountState | None = None
    after: AccountState | None = None


def resync(ctx: Context, kind: str, object_id: str, fetched: Fetched, *, guard: Guard) -> Resynced:
    """Sync an object as an event about it would.

    Raises as `sync.sync` does, or the error that is the object's result, StripeKnowsNone or
    LivemodeMismatch.
    """
    if fetched.object is not None and "livemode" in fetched.object:
        is_live = fetched.object["livemode"] is True
        if is_live != guard.is_live:
            raise LivemodeMismatch(object_is_live=is_live, we_are_live=guard.is_live)
    facts = apply.current_facts(ctx, KINDS[kind], object_id, fetched)
    account_id = _account_id(ctx, facts)
    before = _state(ctx.session, account_id) if account_id is not None else None
    (result,) = sync(ctx.by("stripe"), [State(facts, fetched.at)])
    if isinstance(result, Rejected):
        raise result
    assert result is not None, "a batch of one has a result"
    if result.error is not None:
        result.facts["error"] = result.error.name
    after = _state(ctx.session, account_id) if account_id is not None else None
    return Resynced(kind, object_id, account_id, result.facts, before, after)


def _account_id(ctx: Context, facts: Facts) -> int | None:
    """Lock the object's account; a price has none. Raises as `customers.lock_owners` returns."""
    if isinstance(facts, CatalogPrice):
        return None
    (owner,) = customers.lock_owners(ctx, [facts])
    if isinstance(owner, Rejected):
        raise owner
    assert owner is not None, "a batch of one has an owner"
    return owner.id


def _state(session: Session, account_id: int) -> AccountState:
    account = accounts.lock(session, [account_id])[account_id]
    reasons = status.suspension_reasons(session, account_id)
    shown = f"{account.status} ({', '.join(reasons)})" if reasons else account.status
    return AccountState(shown, account.credits, account.plan_id)
