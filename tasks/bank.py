"""Bank: statement files in, transfers matched, invoices announced, and what a person decides."""

from billing.bank.intake import files as bank_files
from billing.bank.invoicing import issue
from billing.bank.review import decisions, reviewers
from billing.bank.review.decisions import Review
from billing_client.bank import AnnounceTransfer, ConfirmTransfer, ImportStatement, RejectTransfer
from flows.bank import drop_folder
from flows.bank import import_file as import_file_flow
from flows.bank import match as bank_match
from worker.app import app
from worker.database import transaction
from worker.settings import settings


@app.task(name=ImportStatement.TASK, message=ImportStatement)
def import_statement(message: ImportStatement) -> dict[str, object]:
    """Import a file that is in the database, and match what it brought."""
    outcome = import_file_flow.import_file(message.file_id)
    ran = bank_match.run()
    return {"outcome": outcome.outcome, "statements": len(outcome.statements), **ran.counts()}


@app.task(name=AnnounceTransfer.TASK, message=AnnounceTransfer)
def announce_transfer(message: AnnounceTransfer) -> dict[str, object]:
    """Make the invoice for a plan that will be paid for by transfer."""
    currency = settings().invoice_currency
    with transaction() as ctx:
        invoice = issue.announce(ctx, message, currency=currency)
    return {"invoice_id": invoice.invoice_id, "number": invoice.number}


@app.task(name=ConfirmTransfer.TASK, message=ConfirmTransfer)
def confirm_transfer(message: ConfirmTransfer) -> dict[str, object]:
    """A person says which invoice a transfer pays."""
    with transaction() as ctx:
        person = reviewers.staff(ctx.session, str(message.user_id))
        part = decisions.part_of(ctx.session, message.transfer_id, message.invoice_id)
        limit = settings().four_eyes_minor
        review = Review(ctx, person, message.transfer_id, message.version, limit)
        return {"outcome": decisions.confirm(review, [part])}


@app.task(name=RejectTransfer.TASK, message=RejectTransfer)
def reject_transfer(message: RejectTransfer) -> dict[str, object]:
    """A person says that a transfer is not what was suggested."""
    with transaction() as ctx:
        person = reviewers.staff(ctx.session, str(message.user_id))
        limit = settings().four_eyes_minor
        review = Review(ctx, person, message.transfer_id, message.version, limit)
        return {"outcome": decisions.reject(review, reason=message.reason)}


@app.task(name="bank.sweep_files", is_tick=True)
def sweep_files() -> dict[str, object]:
    """Import what lies in the drop folder, and files whose message was lost."""
    folder = settings().statement_folder
    swept = drop_folder.sweep(folder) if folder else []
    with transaction() as ctx:
        waiting = bank_files.waiting(ctx.session, limit=drop_folder.AT_ONCE)
    swept += [import_file_flow.import_file(file_id) for file_id in waiting]
    return {"files": len(swept), "refused": sum(one.outcome == "refused" for one in swept)}


@app.task(name="bank.match_due", is_tick=True)
def match_due() -> dict[str, object]:
    """Match what has come since, and what new invoices or a person's release let match now."""
    return bank_match.run().counts()


@app.task(name="bank.bill_due", is_tick=True)
def bill_due() -> dict[str, object]:
    """Send the invoices of periods to come, and remind of unpaid ones."""
    return bank_match.bill()
