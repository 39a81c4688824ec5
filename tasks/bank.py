"""Bank tasks: import statements, match transfers, announce invoices, and reviewers' decisions."""

from collections import Counter

from billing.bank.invoicing import issue
from billing.bank.review import decisions, reviewers
from billing.bank.review.decisions import Review
from billing.context import Context
from billing_client.bank import AnnounceTransfer, ConfirmTransfer, ImportStatement, RejectTransfer
from flows.bank import drop_folder, match
from flows.bank import import_file as import_file_flow
from worker.app import app
from worker.database import transaction
from worker.settings import settings


@app.task(name=ImportStatement.TASK, message=ImportStatement)
def import_statement(message: ImportStatement) -> dict[str, object]:
    """Import a file that is in the database, then match the new transfers."""
    outcome = import_file_flow.import_file(message.file_id)
    report = match.in_turns(match_due.apply_async)
    ends: Counter[str] = Counter()
    for end in import_file_flow.with_ends(outcome).ends:
        ends[f"lines_{end.end}"] += end.lines
    counts = {"statements": len(outcome.statements), **ends, **report.counts()}
    return {"outcome": outcome.outcome, **counts}


@app.task(name=AnnounceTransfer.TASK, message=AnnounceTransfer)
def announce_transfer(message: AnnounceTransfer) -> dict[str, object]:
    """Issue the invoice for a plan that the account will pay for by transfer."""
    currency = settings().invoice_currency
    with transaction() as ctx:
        invoice = issue.announce(ctx, message, currency=currency)
    return {"invoice_id": invoice.invoice_id, "number": invoice.number}


@app.task(name=ConfirmTransfer.TASK, message=ConfirmTransfer)
def confirm_transfer(message: ConfirmTransfer) -> dict[str, object]:
    """Let a transfer pay the invoice that a reviewer chose."""
    with transaction() as ctx:
        return {"outcome": decisions.confirm_invoice(_review(ctx, message), message.invoice_id)}


@app.task(name=RejectTransfer.TASK, message=RejectTransfer)
def reject_transfer(message: RejectTransfer) -> dict[str, object]:
    """Reject the suggestion for a transfer."""
    with transaction() as ctx:
        return {"outcome": decisions.reject(_review(ctx, message), reason=message.reason)}


def _review(ctx: Context, message: ConfirmTransfer | RejectTransfer) -> Review:
    reviewer = reviewers.reviewer(ctx.session, str(message.user_id))
    limit_minor = settings().four_eyes_minor
    return Review(ctx, reviewer, message.transfer_id, message.version, limit_minor)


@app.task(name="bank.sweep_files", is_tick=True)
def sweep_files() -> dict[str, object]:
    """Import the files of the drop folder, and files whose message was lost."""
    folder = settings().statement_folder
    outcomes = drop_folder.sweep(folder) if folder else []
    outcomes += drop_folder.import_received()
    counts = Counter(outcome.outcome for outcome in outcomes)
    return {
        "files": len(outcomes) - counts["unreadable"],
        "refused": counts["refused"],
        "unreadable": counts["unreadable"],
    }


@app.task(name="bank.match_due", is_tick=True)
def match_due() -> dict[str, object]:
    """Match new transfers, and those that new invoices or released statements let match now."""
    return match.in_turns(match_due.apply_async).counts()


@app.task(name="bank.bill_due", is_tick=True)
def bill_due() -> dict[str, object]:
    """Send the invoices of coming periods, and remind of unpaid ones."""
    return match.bill()
