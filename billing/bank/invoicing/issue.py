"""Invoices to be paid by bank transfer: announced by the main app, issued once, and voided."""

import datetime as dt
from decimal import Decimal

from sqlalchemy import exists, insert, select, text
from sqlalchemy.orm import Session

from billing.bank import invoice_effects
from billing.bank.errors import InvoicePartlyPaid, PlanNotForSale
from billing.bank.invoicing import dunning_steps
from billing.context import Context
from billing.currencies import exponent_of
from billing.errors import KeyReused
from billing.events import outbox
from billing.host import accounts
from billing.lifecycle import status
from billing.statements.references import creditor_reference
from billing_client.bank import AnnounceTransfer
from models.bank import NO_FORMAT, BankAccount, FormatSwitch
from models.transfers import TransferInvoice

ACTOR = "main_app"
#: Statuses that an announced transfer turns into pending_payment; an active account stays active.
AWAITS_PAYMENT = frozenset({"trial", "cancelled"})


def announce(ctx: Context, message: AnnounceTransfer, *, currency: str) -> TransferInvoice:
    """Issue the invoice for a plan that the account will pay for by transfer.

    The same key, or the same plan while its invoice is open, returns the invoice that exists. An
    open invoice for another plan is voided. `currency`: the currency of the plans' prices. Raises
    UnknownAccount, AccountDeleted, SystemAccount, PlanNotForSale, InvoicePartlyPaid, KeyReused.
    """
    account = accounts.lock_billable(ctx.session, message.account_id)
    requested = (message.account_id, message.plan_id, message.months)
    of_key = select(TransferInvoice).where(
        TransferInvoice.account_id == message.account_id, TransferInvoice.key == message.key
    )
    existing = ctx.session.scalars(of_key).first()
    if existing is not None:
        if _content(existing) != requested:
            raise KeyReused(key=message.key, account_id=message.account_id)
        return existing
    for other in open_invoices(ctx.session, account.id):
        if _content(other) == requested:
            return other
        if other.settled_minor:
            raise InvoicePartlyPaid(account_id=account.id, number=other.number)
        void(ctx, other)
    invoice = issue(
        ctx,
        account_id=account.id,
        plan_id=message.plan_id,
        months=message.months,
        key=message.key,
        currency=currency,
        due_at=ctx.now + dunning_steps.DUE_AFTER,
    )
    if account.status in AWAITS_PAYMENT:
        reason = "transfer_announced"
        status.change(ctx.by(ACTOR), account.id, to="pending_payment", reason=reason)
    return invoice


def _content(invoice: TransferInvoice) -> tuple[int, int, int]:
    return invoice.account_id, invoice.plan_id, invoice.months


def issue(
    ctx: Context,
    *,
    account_id: int,
    plan_id: int,
    months: int,
    key: str,
    currency: str,
    due_at: dt.datetime,
    period_start: dt.datetime | None = None,
) -> TransferInvoice:
    """Insert an invoice of a locked account, and leave `invoice.issued`. Raises PlanNotForSale."""
    due_minor = _price_minor(ctx.session, plan_id, currency=currency) * months
    id = ctx.session.scalar(
        text("SELECT nextval(pg_get_serial_sequence('billing.transfer_invoices', 'id'))")
    )
    assert id is not None, "a sequence always has a next value"
    steps_done, next_step_at = dunning_steps.first(due_at, now=ctx.now)
    invoice = ctx.session.scalars(
        insert(TransferInvoice)
        .values(
            id=id,
            account_id=account_id,
            plan_id=plan_id,
            number=f"BT-{ctx.now.year}-{id:06d}",
            reference=creditor_reference(id),
            key=key,
            currency=currency,
            due_minor=due_minor,
            months=months,
            period_start=period_start,
            issued_at=ctx.now,
            due_at=due_at,
            steps_done=steps_done,
            next_step_at=next_step_at,
        )
        .returning(TransferInvoice)
    ).one()
    invoice_effects.mirror(ctx.session, invoice)
    payload = {**invoice_effects.payload_of(invoice), "pay_to": _pay_to(ctx.session, currency)}
    outbox.leave(ctx, "invoice.issued", account_id=account_id, payload=payload)
    return invoice


def _price_minor(session: Session, plan_id: int, *, currency: str) -> int:
    """The price of a month, in minor units. Raises PlanNotForSale; a price of 0 is none."""
    price = accounts.plan_price(session, plan_id)
    exponent = exponent_of(currency)
    assert exponent is not None, "the currency of invoices is checked where it is configured"
    minor = (price or Decimal(0)).scaleb(exponent)
    if minor <= 0 or minor != int(minor):
        raise PlanNotForSale(plan_id=plan_id)
    return int(minor)


def void(ctx: Context, invoice: TransferInvoice) -> None:
    """Void an invoice that has no money on it."""
    invoice.state, invoice.finished_at, invoice.next_step_at = "void", ctx.now, None
    invoice_effects.mirror(ctx.session, invoice)
    payload = invoice_effects.payload_of(invoice)
    outbox.leave(ctx, "invoice.void", account_id=invoice.account_id, payload=payload)


def open_invoices(session: Session, account_id: int) -> list[TransferInvoice]:
    """Lock the account's open invoices, oldest first."""
    rows = select(TransferInvoice).where(
        TransferInvoice.account_id == account_id, TransferInvoice.state == "open"
    )
    return list(session.scalars(rows.order_by(TransferInvoice.id).with_for_update()))


def _pay_to(session: Session, currency: str) -> list[str]:
    """Our bank accounts that take this currency from every customer, by their present numbers."""
    has_new_number = exists().where(
        FormatSwitch.number == BankAccount.number,
        FormatSwitch.currency == BankAccount.currency,
        FormatSwitch.format == NO_FORMAT,
    )
    rows = select(BankAccount.number).where(
        BankAccount.currency == currency, BankAccount.customer_id.is_(None), ~has_new_number
    )
    return list(session.scalars(rows.order_by(BankAccount.number)))
