"""Drift: differences between our subscriptions, invoices and customers and Stripe's.

Nothing is repaired here; each difference names the command that repairs it.
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
from billing.stripe import catalog, fields, object_rows, subscriptions
from billing.stripe.errors import ForeignProduct
from billing.stripe.fields import JSON
from billing.stripe.objects.base import Facts
from billing.stripe.objects.customer import Customer
from billing.stripe.objects.invoice import Invoice
from billing.stripe.objects.subscription import Subscription

#: Kind -> the facts that must agree: credits, access and the main app's rows follow from them.
COMPARED: dict[str, tuple[str, ...]] = {
    "customer": ("is_deleted",),
    "subscription": ("customer", "status", "end", "cancels_at_end", "items"),
    "invoice": ("customer", "status", "currency", "total", "due", "paid"),
}
#: Kind -> the name of the finding, and the invariant that it breaks.
CHECKS = {
    "customer": ("stripe_customers", "each account's customer is one that Stripe has"),
    "subscription": ("stripe_subscriptions", "each subscription is as Stripe says"),
    "invoice": ("stripe_invoices", "each invoice of the last 90 days is as Stripe says"),
}
#: Stripe tries to collect an invoice for two months at most. This is a month more:
#: docs.stripe.com/billing/revenue-recovery/smart-retries
INVOICES_FOR = dt.timedelta(days=90)
#: Our objects that one query reads.
AT_ONCE = 500
#: More differences than this have one cause: a wrong key, or missing webhooks.
MAX_DIFFERENCES = findings.MAX_FINDINGS

Shown = dict[str, object]


@dataclass(frozen=True, slots=True)
class Difference:
    """The differing facts of one object, ours and Stripe's.

    `what`: differs, missing here, unknown to Stripe, or unreadable. `command`: the repair; None:
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
        """The difference as a finding stores it."""
        return {
            "what": self.what,
            "account_id": self.account_id,
            "ours": self.ours,
            "stripe": self.stripe,
            "command": self.command,
        }


@dataclass(slots=True)
class Report:
    """Counts of compared objects by kind, and the differences. `is_cut`: there were more."""

    compared: dict[str, int] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    is_cut: bool = False


def compare(session: Session, kind: str, object_id: str, facts: Facts | None) -> Difference | None:
    """Compare an object here with its `facts` at Stripe; None if nothing differs.

    `facts` None: Stripe does not know the object. An object that is not ours never differs.
    """
    stored = object_rows.read(session, object_id)
    owner = _owner(session, facts or stored, object_id)
    if owner is None or owner.is_deleted:
        return None
    if facts is None:
        is_gone = stored is not None and stored.gone() == stored
        return None if is_gone else _unknown(kind, object_id, stored, owner)
    if stored is None:
        return _missing(session, kind, facts, owner)
    ours, theirs = _of_interest(stored), _of_interest(facts)
    for name, (have, should) in _mirrored(session, stored, owner):
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
    """Whether an object that can't be parsed belongs to a customer of ours."""
    customer = source.get("id" if kind == "customer" else "customer")
    return isinstance(customer, str) and bool(accounts.with_customer(session, customer))


def unreadable(kind: str, object_id: str, error: Rejected) -> Difference:
    """The difference of an object at Stripe that can't be parsed."""
    facts: Shown = {"error": error.name, **error.facts}
    return Difference(kind, object_id, "unreadable", None, {}, facts, None)


def unseen(session: Session, kind: str, seen: set[str], *, since: dt.datetime) -> list[str]:
    """The ids of our objects that Stripe should have listed and that are not in `seen`.

    `since`: Stripe was asked for invoices from this time on.
    """
    ids = [facts.id for facts in _ours(session, kind) if _is_listed(facts, since)]
    if kind == "customer":
        ids += _customers(session)
    return sorted(set(ids) - seen)


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
    """Store the differences as findings; close those that are gone."""
    by_check: dict[str, list[tuple[str, Shown]]] = {name: [] for name, _ in CHECKS.values()}
    for item in report.differences:
        by_check[CHECKS[item.kind][0]].append((f"{item.kind} {item.id}", item.facts))
    findings.keep(ctx, by_check)


def _owner(session: Session, facts: Facts | None, object_id: str) -> HostAccount | None:
    """The account of an object: its customer's, else the one that its metadata names."""
    customer = (facts.customer if facts else None) or object_id
    account_ids: list[int] = accounts.with_customer(session, customer)
    if not account_ids and facts is not None and facts.hint is not None:
        account_ids = [facts.hint]
    return accounts.read(session, str(account_ids[0])) if account_ids else None


def _missing(session: Session, kind: str, facts: Facts, owner: HostAccount) -> Difference | None:
    if isinstance(facts, Customer):
        is_equal = owner.stripe_customer_id == facts.id and not facts.is_deleted
        is_taken = owner.stripe_customer_id not in {None, "", facts.id}
        if is_equal or is_taken:
            return None
    # The sync fetches a price that is not known yet.
    if isinstance(catalog.refusal(facts, catalog.load(session, [facts])), ForeignProduct):
        return None
    theirs = _of_interest(facts)
    return Difference(kind, facts.id, "missing here", owner.id, {}, theirs, _sync(kind, facts.id))


def _unknown(kind: str, object_id: str, stored: Facts | None, owner: HostAccount) -> Difference:
    ours: Shown = _of_interest(stored) if stored else {"account_id": owner.id}
    can_be_noted = stored is not None and stored.gone() is not None
    command = _sync(kind, object_id) if can_be_noted else None
    return Difference(kind, object_id, "unknown to Stripe", owner.id, ours, {}, command)


def _sync(kind: str, object_id: str) -> str:
    return f"billing stripe sync {kind} {object_id}"


def _of_interest(facts: Facts) -> Shown:
    shown = {name: getattr(facts, name) for name in COMPARED[facts.KIND]}
    if isinstance(facts, Subscription):
        shown["items"] = sorted([[item.price.id or "", item.quantity] for item in facts.items])
    return shown


def _mirrored(
    session: Session, stored: Facts, owner: HostAccount
) -> Iterator[tuple[str, tuple[object, object]]]:
    """The values in the main app's row, each beside the value that it should have."""
    if isinstance(stored, Invoice):
        row: Mapping[str, object] = invoices.of_stripe(session, stored.id)
        yield "app.status", (row.get("status"), stored.status)
        yield "app.due_minor", (row.get("due_minor"), fields.minor(stored.due, stored.currency))
        yield "app.paid_minor", (row.get("paid_minor"), fields.minor(stored.paid, stored.currency))
    elif isinstance(stored, Subscription):
        row = invoices.subscription_of(session, owner.id)
        # The account's row shows one of its subscriptions: the newest running one.
        if row.get("stripe_id") == stored.id or (not row and not stored.is_ended):
            yield "app.status", (row.get("status"), subscriptions.status_of(session, stored))
            yield "app.cancels_at_end", (row.get("cancels_at_end"), stored.cancels_at_end)


def _is_listed(facts: Facts, since: dt.datetime) -> bool:
    if isinstance(facts, Invoice):
        return facts.status != "deleted" and (facts.created or 0) >= since.timestamp()
    if isinstance(facts, Subscription):
        return not facts.is_ended
    return isinstance(facts, Customer) and not facts.is_deleted
