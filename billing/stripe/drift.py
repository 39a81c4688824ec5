"""Drift: where what we know of Stripe's subscriptions, invoices and customers is not what it says.

Nothing is repaired here; each difference names the command that does it.
"""

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from billing.context import Context
from billing.errors import Rejected
from billing.host import accounts, invoices
from billing.host.accounts import HostAccount
from billing.operations import findings
from billing.stripe import catalog, object_rows, subscriptions
from billing.stripe import json_fields as read
from billing.stripe.errors import ForeignProduct, UnknownPrice
from billing.stripe.json_fields import JSON
from billing.stripe.types import Customer, Facts, Invoice, Subscription

#: kind -> the facts that must agree: those that credits, access or the mirror follow from
COMPARED: dict[str, tuple[str, ...]] = {
    "customer": ("is_deleted",),
    "subscription": ("customer", "status", "end", "cancels_at_end", "items"),
    "invoice": ("customer", "status", "currency", "total", "due", "paid"),
}
#: kind -> name of the finding, and the promise that it breaks
CHECKS = {
    "customer": ("stripe_customers", "each account's customer is one that Stripe has"),
    "subscription": ("stripe_subscriptions", "each subscription is as Stripe says"),
    "invoice": ("stripe_invoices", "each invoice of the last 90 days is as Stripe says"),
}
#: Stripe tries to collect an invoice for two months at most, and here is a month more:
#: docs.stripe.com/billing/revenue-recovery/smart-retries
INVOICES_FOR = dt.timedelta(days=90)
#: Objects of ours that are read at once.
AT_ONCE = 500
#: More differences than this are one difference: a wrong key, or webhooks that never came.
MAX_DIFFERENCES = findings.MAX_FINDINGS

Shown = dict[str, object]


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs of one object: only the facts that do, ours and Stripe's.

    `what`: differs, missing here, unknown to Stripe, or unreadable. `command`: what mends it; None:
    see the runbook.
    """

    kind: str
    id: str
    what: str
    account_id: int | None
    ours: Shown
    stripe: Shown
    command: str | None

    @property
    def facts(self) -> Shown:
        """As a finding keeps it."""
        return {
            "what": self.what,
            "account_id": self.account_id,
            "ours": self.ours,
            "stripe": self.stripe,
            "command": self.command,
        }


@dataclass(slots=True)
class Report:
    """What was compared, by kind, and what differs. `is_cut`: there was more than is kept."""

    compared: dict[str, int] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    is_cut: bool = False


def compare(session: Session, kind: str, object_id: str, facts: Facts | None) -> Difference | None:
    """What differs between an object here and at Stripe, which says `facts`; None: nothing.

    `facts` None: Stripe knows no such object. What is none of ours differs in nothing.
    """
    known = object_rows.read(session, object_id)
    owner = _owner(session, facts or known, object_id)
    if owner is None or owner.is_deleted:
        return None
    if facts is None:
        is_gone = known is not None and known.gone() == known
        return None if is_gone else _unknown(kind, object_id, known, owner)
    if known is None:
        return _missing(session, kind, facts, owner)
    ours, theirs = _of_interest(known), _of_interest(facts)
    for name, (have, should) in _mirrored(session, known, owner):
        ours[name], theirs[name] = have, should
    differing = [name for name in ours if ours[name] != theirs[name]]
    if not differing:
        return None
    return Difference(
        kind,
        object_id,
        "differs",
        owner.id,
        {name: ours[name] for name in differing},
        {name: theirs[name] for name in differing},
        _sync(kind, object_id),
    )


def is_ours(session: Session, kind: str, source: JSON) -> bool:
    """Whether an object that can't be read is one of a customer of ours."""
    customer = source.get("id" if kind == "customer" else "customer")
    return isinstance(customer, str) and bool(accounts.with_customer(session, customer))


def unreadable(kind: str, object_id: str, error: Rejected) -> Difference:
    """An object at Stripe that can't be taken for what it is; `error` says why."""
    facts: Shown = {"error": error.name, **error.facts}
    return Difference(kind, object_id, "unreadable", None, {}, facts, None)


def unseen(session: Session, kind: str, seen: set[str], *, since: dt.datetime) -> list[str]:
    """Ids of those of our objects that Stripe should have listed, and has not `seen`.

    `since`: from when on it was asked for invoices.
    """
    found = [each.id for each in _ours(session, kind) if _is_listed(each, since)]
    if kind == "customer":
        found += _customers(session)
    return sorted(set(found) - seen)


def _ours(session: Session, kind: str) -> Iterator[Facts]:
    after = ""
    while page := object_rows.of_kind(session, kind, after=after, limit=AT_ONCE):
        yield from page
        after = page[-1].id


def _customers(session: Session) -> Iterator[str]:
    after = ""
    while page := accounts.customers(session, after=after, limit=AT_ONCE):
        yield from page
        after = page[-1]


def keep(ctx: Context, report: Report) -> None:
    """Keep the differences as findings; those that are no longer seen are closed."""
    by_check: dict[str, list[tuple[str, Shown]]] = {name: [] for name, _ in CHECKS.values()}
    for each in report.differences:
        by_check[CHECKS[each.kind][0]].append((f"{each.kind} {each.id}", each.facts))
    findings.keep(ctx, by_check)


def _owner(session: Session, facts: Facts | None, object_id: str) -> HostAccount | None:
    """The account that an object is of: its customer's, else the one that it names itself."""
    customer = (facts.customer if facts else None) or object_id
    found: list[int] = accounts.with_customer(session, customer)
    if not found and facts is not None and facts.hint is not None:
        found = [facts.hint]
    return accounts.read(session, str(found[0])) if found else None


def _missing(session: Session, kind: str, facts: Facts, owner: HostAccount) -> Difference | None:
    if isinstance(facts, Customer):
        is_as_said = owner.stripe_customer_id == facts.id and not facts.is_deleted
        is_taken = owner.stripe_customer_id not in {None, "", facts.id}
        if is_as_said or is_taken:
            return None
    try:
        catalog.check(facts, catalog.load(session, catalog.prices_of(facts)))
    except ForeignProduct:
        return None
    except UnknownPrice:
        pass  # the sync asks for it
    theirs = _of_interest(facts)
    return Difference(kind, facts.id, "missing here", owner.id, {}, theirs, _sync(kind, facts.id))


def _unknown(kind: str, object_id: str, known: Facts | None, owner: HostAccount) -> Difference:
    ours: Shown = _of_interest(known) if known else {"account_id": owner.id}
    can_be_noted = known is not None and known.gone() is not None
    command = _sync(kind, object_id) if can_be_noted else None
    return Difference(kind, object_id, "unknown to Stripe", owner.id, ours, {}, command)


def _sync(kind: str, object_id: str) -> str:
    return f"billing stripe sync {kind} {object_id}"


def _of_interest(facts: Facts) -> Shown:
    found = {name: getattr(facts, name) for name in COMPARED[facts.KIND]}
    if isinstance(facts, Subscription):
        found["items"] = sorted([[item.price.id or "", item.quantity] for item in facts.items])
    return found


def _mirrored(
    session: Session, known: Facts, owner: HostAccount
) -> Iterator[tuple[str, tuple[object, object]]]:
    """What the main app's row says, beside what it should say by what we know."""
    if isinstance(known, Invoice):
        row: Mapping[str, object] = invoices.of_stripe(session, known.id)
        yield "app.status", (row.get("status"), known.status)
        yield "app.due_minor", (row.get("due_minor"), read.minor(known.due, known.currency))
        yield "app.paid_minor", (row.get("paid_minor"), read.minor(known.paid, known.currency))
    elif isinstance(known, Subscription):
        row = invoices.subscription_of(session, owner.id)
        # The account's row shows one of its subscriptions, the newest that goes on.
        if row.get("stripe_id") == known.id or (not row and not known.is_ended):
            yield "app.status", (row.get("status"), subscriptions.status_of(session, known))
            yield "app.cancels_at_end", (row.get("cancels_at_end"), known.cancels_at_end)


def _is_listed(facts: Facts, since: dt.datetime) -> bool:
    if isinstance(facts, Invoice):
        return facts.status != "deleted" and (facts.created or 0) >= since.timestamp()
    if isinstance(facts, Subscription):
        return not facts.is_ended
    return isinstance(facts, Customer) and not facts.is_deleted
