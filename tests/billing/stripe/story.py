"""The words in which tests tell what Stripe says: deliver events, and see what became of them."""

from dataclasses import dataclass, field

from sqlalchemy import select

from billing.host import accounts
from billing.lifecycle import status
from billing.purchases import purchases
from billing.stripe import apply, events, inbox, inbox_upkeep
from billing.stripe.events import Guard
from billing.stripe.inbox import Received
from models.host import Account, Invoice, Payment, Subscription
from models.operations import OutboxEvent
from models.stripe import StripeEvent
from tests.billing.stripe.writing import Shop
from tests.story import Ledger
from worker.database import transaction


def lots(ledger, slug="acme") -> list[tuple]:
    """Each lot that is not used up, as (source, remaining)."""
    return [(lot.source, lot.remaining) for lot in ledger.see(slug).lots if lot.remaining]


@dataclass
class Stripe:
    """Delivers events to the inbox at the books' time, and applies each at once."""

    ledger: Ledger
    guard: Guard = field(default_factory=lambda: Guard(is_live=False))

    def shop(self, slug=None, **fields) -> Shop:
        """A shop whose customer is this account, at the books' time."""
        fields.setdefault("now", int(self.ledger.now.timestamp()))
        if slug is not None:
            self.ledger.set_host(slug, stripe_customer_id=fields.get("customer", "cus_1"))
        return Shop(**fields)

    def deliver(self, *payloads) -> list[str]:
        """Deliver these events; returns what became of each, as `state` or `state: reason`."""
        return [self.deliver_one(payload) for payload in payloads]

    def deliver_one(self, payload) -> str:
        now = self.ledger.now
        with transaction() as ctx:
            event = events.of_payload(payload)
            number = inbox.store(ctx.at(now), event, source="webhook", received_at=now)
        if number is None:
            return "seen before"
        self.apply(number)
        return self.outcome(number)

    def deliver_set(self, *payloads) -> list[str]:
        """Deliver these events at once, as a worker does that found them in its queue."""
        now = self.ledger.now
        received = [Received(events.of_payload(payload), now) for payload in payloads]
        with transaction(actor="stripe") as ctx:
            rows = inbox.store_all(ctx.at(now), received, source="webhook")
            done = self._apply_in(ctx.at(now), [row for row in rows if row is not None])
        for row in rows:
            if row is not None and row.id not in done:
                self.apply(row.id)
        return [self.outcome(row.id) if row is not None else "seen before" for row in rows]

    def apply(self, number) -> None:
        with transaction(actor="stripe") as ctx:
            self._apply_in(ctx.at(self.ledger.now), inbox.claim(ctx.session, [number]))

    def _apply_in(self, ctx, rows):
        with inbox.handle(ctx, rows) as handling:
            apply.apply(ctx, handling, guard=self.guard, answers={})
        return handling.outcomes

    def sweep(self) -> None:
        """Take up what is due, until nothing is."""
        while True:
            with transaction() as ctx:
                due = inbox_upkeep.due(ctx.at(self.ledger.now), limit=100)
            if not due:
                return
            for number in due:
                self.apply(number)

    def outcome(self, number) -> str:
        with transaction() as ctx:
            row = ctx.session.get(StripeEvent, number)
            return row.state if row.reason is None else f"{row.state}: {row.reason}"

    def outcomes(self) -> list[str]:
        """What became of every event, oldest first."""
        with transaction() as ctx:
            numbers = list(ctx.session.scalars(select(StripeEvent.id).order_by(StripeEvent.id)))
        return [self.outcome(number) for number in numbers]

    def status(self, slug) -> str:
        """The account's status, with its suspensions' reasons."""
        with transaction() as ctx:
            account = accounts.read(ctx.session, slug)
            reasons = status.suspension_reasons(ctx.session, account.id)
        return " ".join([account.status, *reasons])

    def subscription(self, slug) -> Subscription | None:
        with transaction() as ctx:
            return ctx.session.scalars(
                select(Subscription).where(Subscription.account_id == self.ledger.ids[slug])
            ).first()

    def invoices(self) -> list[tuple]:
        with transaction() as ctx:
            rows = select(Invoice.status, Invoice.currency, Invoice.due_minor, Invoice.paid_minor)
            return [
                tuple(row) for row in ctx.session.execute(rows.order_by(Invoice.stripe_invoice_id))
            ]

    def invoice_ids(self) -> list[str]:
        """The ids of the invoices at Stripe, oldest first."""
        with transaction() as ctx:
            return list(ctx.session.scalars(select(Invoice.stripe_invoice_id).order_by(Invoice.id)))

    def payments(self) -> list[tuple]:
        with transaction() as ctx:
            rows = select(Payment.status, Payment.currency, Payment.amount_minor)
            rows = rows.order_by(Payment.external_payment_id)
            return [tuple(row) for row in ctx.session.execute(rows)]

    def told(self) -> list[str]:
        """The types of the events left for the main app."""
        with transaction() as ctx:
            return list(ctx.session.scalars(select(OutboxEvent.type).order_by(OutboxEvent.id)))

    def end_state(self, slug) -> dict:
        """All that must not depend on the order in which events came."""
        seen = self.ledger.see(slug)
        with transaction() as ctx:
            account = ctx.session.get(Account, self.ledger.ids[slug])
            mirrored = {"plan": account.plan_id, "customer": account.stripe_customer_id}
        subscription = self.subscription(slug)
        return {
            **mirrored,
            "status": self.status(slug),
            "credits": account.credits,
            "book": (seen.credits, seen.debt, seen.held),
            "lots": sorted((x.source, x.remaining, x.held, str(x.expires_at)) for x in seen.lots),
            "invoices": self.invoices(),
            "payments": self.payments(),
            "subscription": subscription
            and (
                subscription.status,
                subscription.current_period_start,
                subscription.current_period_end,
                subscription.cancel_at_period_end,
            ),
            "audit": self.ledger.audit().findings,
        }

    def drip(self) -> None:
        """Give the monthly lots that are due."""
        self.ledger.sweep(purchases.sweep_due)
