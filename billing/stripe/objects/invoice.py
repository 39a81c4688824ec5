"""Invoices: what an account owes for a period, and what it has paid."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from billing.context import Context
from billing.events import outbox
from billing.host import accounts, funding, invoices
from billing.host.accounts import HostAccount
from billing.host.invoices import MirroredInvoice
from billing.lifecycle.dunning import cases as dunning_cases
from billing.purchases import bridge
from billing.stripe import fields
from billing.stripe.errors import BadAmount, BadObject
from billing.stripe.fields import JSON, Price
from billing.stripe.objects.base import Change, Facts, in_order
from billing.stripe.objects.charge import Charge

#: Nobody owes an invoice in one of these states any more. A paid one ends dunning by the payment.
NOT_OWED = frozenset({"void", "uncollectible", "deleted"})


@dataclass(frozen=True, slots=True)
class Line:
    """A line of an invoice.

    `amount` is signed, before discounts; `discount` is theirs. `is_credit`: it credits an earlier
    line; None: an old shape, which does not say.
    """

    id: str
    price: Price
    amount: int
    quantity: int
    is_proration: bool
    start: int | None
    end: int | None
    is_free_price: bool | None
    discount: int = 0
    is_credit: bool | None = None
    #: The error and the field for which the line can't be read.
    flaw: Sequence[str] | None = None

    @classmethod
    def parse(cls, source: JSON) -> Self:
        """Parse a line. Raises as `Facts.parse` does."""
        of_subscription, of_item = _details(source)
        details = of_subscription or of_item
        period = fields.inside(source, "period")
        price = fields.price_named(source)
        # Stripe takes only one-time prices for an invoice item:
        # docs.stripe.com/api/invoiceitems/create, pricing.price
        is_item = fields.inside(source, "parent").get("type") == "invoice_item_details"
        if is_item and price.is_one_time is None and not fields.flag(details, "proration"):
            price = replace(price, is_of_item=True)
        is_free = fields.is_zero(fields.inside(source, "pricing").get("unit_amount_decimal"))
        return cls(
            id=fields.needed(source, "id"),
            price=price,
            amount=fields.amount(source, "amount", signed=True),
            quantity=fields.count(source, "quantity", default=1),
            is_proration=fields.flag(source, "proration") or fields.flag(details, "proration"),
            start=fields.second(period, "start"),
            end=fields.second(period, "end"),
            is_free_price=is_free if price.is_free is None else price.is_free,
            discount=fields.amounts(source, "discount_amounts"),
            is_credit=fields.is_credit(source, details),
        )

    @classmethod
    def parse_or_mark(cls, source: JSON) -> Self:
        """Parse a line; mark one that can't be read, so that its invoice's others count."""
        try:
            return cls.parse(source)
        except BadObject as error:
            id_, flags = source.get("id"), (source, *_details(source))
            return cls(
                id=id_ if isinstance(id_, str) else "-",
                price=Price(None, None),
                amount=0,
                quantity=0,
                is_proration=any(flag.get("proration") for flag in flags),
                start=None,
                end=None,
                is_free_price=None,
                flaw=(error.name, str(error.facts["field"])),
            )

    def error(self, invoice: str) -> BadObject:
        """Return the reason why this line, which has a flaw, can't be read."""
        assert self.flaw is not None, "a line that can't be read"
        name, field = self.flaw
        kind = BadAmount if name == BadAmount.__name__ else BadObject
        return kind(field=field, line=self.id, invoice=invoice)


@dataclass(frozen=True, slots=True)
class Invoice(Facts):
    """An invoice. `payments`: the ids of the intents and charges that pay it.

    `starting_balance` and `ending_balance`: the customer's balance before and after it; below 0 it
    is credit. `moves_balance`: it may change the customer's balance. `credited`: credit notes that
    reduced it before its payment.
    """

    KIND: ClassVar[str] = "invoice"
    EVENTS: ClassVar[tuple[str, ...]] = (
        "invoice.created",
        "invoice.updated",
        "invoice.deleted",
        "invoice.finalized",
        "invoice.finalization_failed",
        "invoice.sent",
        "invoice.paid",
        "invoice.overdue",
        "invoice.payment_succeeded",
        "invoice.payment_failed",
        "invoice.payment_action_required",
        "invoice.payment_attempt_required",
        "invoice.marked_uncollectible",
        "invoice.voided",
    )
    STATUSES: ClassVar[Mapping[str, int]] = in_order(
        "draft",
        "open",
        "uncollectible",
        "paid",
        "void",
        "deleted",
    )

    subscription: str | None
    status: str
    currency: str
    total: int
    due: int
    paid: int
    attempts: int
    next_attempt: int | None
    created: int | None
    due_date: int | None
    number: str | None
    payments: tuple[str, ...]
    lines: tuple[Line, ...]
    has_more_lines: bool
    reason: str | None = None
    finalized: int | None = None
    discount: int = 0
    credited: int = 0
    starting_balance: int | None = None
    ending_balance: int | None = None
    moves_balance: bool = False

    @classmethod
    def parse(cls, source: JSON) -> Self:
        """Parse an invoice. Raises as `Facts.parse` does."""
        status = _status(source)
        parent = fields.inside(source, "parent", "subscription_details")
        details = fields.inside(source, "subscription_details")
        payments = fields.payment_ids(source)
        for payment in fields.items(source, "payments"):
            payments += fields.payment_ids(fields.inside(payment, "payment"))
        lines = tuple([Line.parse_or_mark(line) for line in fields.items(source, "lines")])
        total, due = [fields.amount(source, x, signed=True) for x in ("total", "amount_due")]
        before, after = fields.balances(source)
        is_change = any(line.is_proration for line in lines)
        return cls(
            **fields.common(source, parent, details),
            subscription=fields.reference(source, "subscription")
            or fields.reference(parent, "subscription"),
            status=status,
            currency=fields.currency(source),
            total=total,
            due=due,
            paid=fields.amount(source, "amount_paid"),
            attempts=fields.count(source, "attempt_count", default=0),
            next_attempt=fields.second(source, "next_payment_attempt"),
            created=fields.second(source, "created"),
            due_date=fields.second(source, "due_date"),
            number=fields.text(source, "number", longest=fields.MAX_NUMBER_CHARACTERS),
            payments=tuple(sorted({payment for payment in payments if payment})),
            lines=lines,
            has_more_lines=fields.flag(fields.inside(source, "lines"), "has_more"),
            reason=fields.text(source, "billing_reason"),
            finalized=fields.second(fields.inside(source, "status_transitions"), "finalized_at"),
            discount=fields.amounts(source, "total_discount_amounts"),
            credited=fields.amount(source, "pre_payment_credit_notes_amount"),
            starting_balance=before,
            ending_balance=after,
            moves_balance=is_change or total != due or bool(before or after),
        )

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Load the facts as they were stored."""
        rows = stored["lines"]
        lines = tuple([Line(**{**line, "price": Price(**line["price"])}) for line in rows])
        return cls(**{**stored, "lines": lines, "payments": tuple(stored["payments"])})

    @property
    def from_balance(self) -> int:
        """The money of the customer's balance that paid for it."""
        if self.starting_balance is None or self.ending_balance is None:
            return max(self.total - self.credited - max(self.due, 0), 0)
        return max(min(self.ending_balance, 0) - min(self.starting_balance, 0), 0)

    @property
    def to_balance(self) -> int:
        """The money that it left in the customer's balance."""
        return max(-self.total, 0)

    @property
    def rank(self) -> list[int]:
        """The status' place, the attempts to collect, and the amount paid."""
        return [self.STATUSES.get(self.status, 0), self.attempts, self.paid]

    @property
    def is_of_payment(self) -> bool:
        """An invoice is a part of the payment that pays it."""
        return True

    @property
    def links(self) -> frozenset[str]:
        """Its payments."""
        return frozenset(self.payments)

    def gone(self) -> Self:
        """A draft that was deleted."""
        return replace(self, status="deleted")

    def mirrored(self, account: HostAccount) -> MirroredInvoice:
        """The invoice as the main app's table shows it."""
        return MirroredInvoice(
            account_id=account.id,
            number=self.number,
            stripe_id=self.id,
            status=self.status,
            currency=self.currency,
            due_minor=fields.minor(self.due, self.currency),
            paid_minor=fields.minor(self.paid, self.currency),
            issued_at=fields.moment(self.created) if self.created else None,
            due_at=fields.moment(self.due_date) if self.due_date else None,
        )

    def follow(self, ctx: Context, change: Change) -> bool:
        """Announce a payment or a failed attempt; open or stop dunning."""
        before = change.before if isinstance(change.before, Invoice) else None
        is_new_failure = self.status == "open" and self.attempts > (
            before.attempts if before else 0
        )
        if is_new_failure or self.status in NOT_OWED:
            self._follow_dunning(ctx, change, is_new_failure=is_new_failure)
        is_overdue = not is_new_failure and self.is_overdue(ctx.now)
        if is_overdue and funding.by_other_subscription(ctx, change.account.id, self.subscription):
            is_overdue = False
        if is_overdue:
            invoice_id = invoices.id_of(ctx.session, self.id)
            is_overdue = dunning_cases.open_overdue(ctx, change.account.id, invoice_id=invoice_id)
        is_new_payment = self.status == "paid" and (before is None or before.status != "paid")
        if is_new_failure or (is_new_payment and self.paid):
            self._announce(ctx, change.account)
        return is_new_failure or is_overdue

    def is_overdue(self, now: dt.datetime) -> bool:
        """Whether it was sent, is due, and unpaid. Only sent invoices have a day they are due."""
        is_due = self.due_date is not None and fields.moment(self.due_date) <= now
        return self.status == "open" and self.due > 0 and is_due

    def _announce(self, ctx: Context, account: HostAccount) -> None:
        payload = fields.money(self.id, self.currency, self.paid or self.due)
        if self.status == "paid":
            outbox.leave(ctx, "invoice.paid", account_id=account.id, payload=payload)
            return
        next_at = fields.moment(self.next_attempt).isoformat() if self.next_attempt else None
        payload |= {"attempts": self.attempts, "next_attempt_at": next_at}
        outbox.leave(ctx, "payment.failed", account_id=account.id, payload=payload)

    def _follow_dunning(self, ctx: Context, change: Change, *, is_new_failure: bool) -> None:
        """Open a case for a failed attempt; close it when nobody owes the invoice any more."""
        invoice_id = invoices.id_of(ctx.session, self.id)
        account_id = change.account.id
        if not is_new_failure:
            if invoice_id is not None:
                dunning_cases.stop(ctx, account_id, reason="written_off", invoice_id=invoice_id)
            return
        if funding.by_other_subscription(ctx, account_id, self.subscription):
            return  # a pack, or a second subscription: the account's access is paid for
        bridge.end(ctx, account_id)
        if _may_be_dunned(ctx, change.account):
            dunning_cases.open_case(
                ctx,
                account_id,
                cause="card_failed",
                invoice_id=invoice_id,
                decline_code=_decline_code(change),
                retry_at=fields.moment(self.next_attempt) if self.next_attempt else None,
            )


def _details(source: JSON) -> tuple[JSON, JSON]:
    """Return the details of a line's subscription item, and of its invoice item; one is empty."""
    parent = fields.inside(source, "parent")
    return (
        fields.inside(parent, "subscription_item_details"),
        fields.inside(parent, "invoice_item_details"),
    )


def _status(source: JSON) -> str:
    status = fields.text(source, "status", longest=fields.MAX_STATUS_CHARACTERS)
    if source.get("deleted") is True:
        return "deleted"
    if status is None:  # before 2018-11-08
        return "paid" if fields.flag(source, "paid") else "open"
    return status


def _may_be_dunned(ctx: Context, account: HostAccount) -> bool:
    """Whether the account owes for its access; its status is read anew, as a batch changes it.

    An account with a period that was paid by bank owes nothing for it.
    """
    status = accounts.lock(ctx.session, [account.id])[account.id].status
    may_be = status in dunning_cases.OWES and not account.is_system
    return may_be and funding.way(ctx, account.id).bank_until is None


def _decline_code(change: Change) -> str | None:
    """Return the decline code of the newest failed charge; None if Stripe has not sent one yet."""
    failed = [
        (charge.created or fields.FIRST_SECOND, charge.id, charge.decline)
        for charge in change.payment
        if isinstance(charge, Charge) and charge.status == "failed" and charge.decline
    ]
    return max(failed)[2] if failed else None
