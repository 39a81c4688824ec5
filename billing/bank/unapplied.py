"""An account's unapplied cash: how much it has with us, and a person's letting it pay an invoice.

No rule ever uses it by itself.
"""

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from billing.bank import allocate, invoice_effects
from billing.bank.errors import PartsRefused
from billing.bank.matching.types import ENGINE_VERSION
from billing.bank.review import reviewers
from billing.bank.review.reviewers import Person
from billing.context import Context
from billing.host import invoices
from billing.host.invoices import MirroredPayment
from models.transfers import Allocation, Decision, TransferInvoice, UnappliedCash


def balance(session: Session, account_id: int, currency: str) -> int:
    """Minor units that the account has with us; below zero where a payment was taken back."""
    total = select(func.coalesce(func.sum(UnappliedCash.amount_minor), 0)).where(
        UnappliedCash.account_id == account_id, UnappliedCash.currency == currency
    )
    return int(session.execute(total).scalar_one())


def use(ctx: Context, person: Person, transfer_invoice_id: int) -> int:
    """Let an account's unapplied cash pay its invoice; returns how much of it did.

    Raises UnknownInvoice, NotAllowed, or PartsRefused where there is nothing to use or to pay.
    """
    [invoice] = allocate.lock_invoices(ctx.session, [transfer_invoice_id]).values()
    reviewers.must_not_own(person, {invoice.account_id})
    open_minor = invoice.due_minor - invoice.settled_minor if invoice.state == "open" else 0
    amount = min(balance(ctx.session, invoice.account_id, invoice.currency), open_minor)
    if amount <= 0:
        raise PartsRefused(problem="no unapplied cash, or nothing open", number=invoice.number)
    decision_id = _write(ctx, person, invoice, amount)
    ctx.session.execute(
        insert(UnappliedCash).values(
            account_id=invoice.account_id,
            currency=invoice.currency,
            amount_minor=-amount,
            why=f"used for {invoice.number}",
            decision_id=decision_id,
            recorded_at=ctx.now,
        )
    )
    ctx.session.execute(
        insert(Allocation).values(
            transfer_invoice_id=invoice.id,
            amount_minor=amount,
            decision_id=decision_id,
            recorded_at=ctx.now,
        )
    )
    invoice.settled_minor += amount
    ctx.session.flush()
    invoice_effects.follow(ctx, invoice)
    _mirror(ctx, invoice, amount, decision_id)
    return amount


def _write(ctx: Context, person: Person, invoice: TransferInvoice, amount: int) -> int:
    evidence = {"parts": [[invoice.id, amount]], "account_id": invoice.account_id}
    return ctx.session.execute(
        insert(Decision)
        .values(
            rule="person",
            outcome="use credit",
            evidence=evidence,
            engine_version=ENGINE_VERSION,
            actor=person.actor,
            decided_at=ctx.now,
        )
        .returning(Decision.id)
    ).scalar_one()


def _mirror(ctx: Context, invoice: TransferInvoice, amount: int, decision_id: int) -> None:
    invoices.write_payment(
        ctx.session,
        MirroredPayment(
            account_id=invoice.account_id,
            invoice_id=invoice.invoice_id,
            method=invoice_effects.METHOD,
            external_id=f"billing:credit:{decision_id}",
            status="succeeded",
            currency=invoice.currency,
            amount_minor=amount,
            happened_at=ctx.now,
        ),
    )
