"""One object of Stripe's brought up to date by a person: what mends a difference."""

from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from billing.context import Context
from billing.host import accounts
from billing.lifecycle import status
from billing.stripe import apply_one, customers
from billing.stripe.apply_one import Fetched, Guard
from billing.stripe.errors import LivemodeMismatch
from billing.stripe.types import CatalogPrice


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an account stands: `status` with the reasons of a suspension, credits, plan."""

    status: str
    credits: int
    plan_id: int | None


@dataclass(frozen=True, slots=True)
class Synced:
    """What became of an object. `done`: as `sync` says; None of the account's for a price."""

    kind: str
    id: str
    account_id: int | None
    done: dict[str, object] = field(default_factory=dict)
    before: Standing | None = None
    after: Standing | None = None


def bring(ctx: Context, kind: str, object_id: str, fetched: Fetched, *, guard: Guard) -> Synced:
    """Bring an object up to date here, as an event about it would.

    Raises what `billing.stripe.apply_one.sync` does, StripeKnowsNone or LivemodeMismatch.
    """
    if fetched.object is not None and "livemode" in fetched.object:
        is_live = fetched.object["livemode"] is True
        if is_live != guard.is_live:
            raise LivemodeMismatch(object_is_live=is_live, we_are_live=guard.is_live)
    facts = apply_one.fetched_facts(ctx, kind, object_id, fetched)
    if isinstance(facts, CatalogPrice):
        return Synced(kind, object_id, None, apply_one.sync(ctx, facts, fetched.at))
    account_id = customers.find(ctx.session, facts).id
    before = _standing(ctx.session, account_id)
    done = apply_one.sync(ctx, facts, fetched.at)
    return Synced(kind, object_id, account_id, done, before, _standing(ctx.session, account_id))


def _standing(session: Session, account_id: int) -> Standing:
    account = accounts.lock(session, [account_id])[account_id]
    reasons = status.suspension_reasons(session, account_id)
    shown = f"{account.status} ({', '.join(reasons)})" if reasons else account.status
    return Standing(shown, account.credits, account.plan_id)
