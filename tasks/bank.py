"""Bank: statement files in, transfers matched, invoices announced, and what a person decides."""

from billing.bank import files
from billing_client.bank import ImportStatement
from worker import drop_folder, statement_imports
from worker.app import app
from worker.database import transaction
from worker.settings import settings


@app.task(name=ImportStatement.TASK, message=ImportStatement)
def import_statement(message: ImportStatement) -> dict[str, object]:
    """Import a file that is in the database."""
    outcome = statement_imports.import_file(message.file_id)
    return {"outcome": outcome.outcome, "statements": len(outcome.statements)}


@app.task(name="bank.sweep_files", is_tick=True)
def sweep_files() -> dict[str, object]:
    """Import what lies in the drop folder, and files whose message was lost."""
    folder = settings().statement_folder
    swept = drop_folder.sweep(folder) if folder else []
    with transaction() as session:
        waiting = files.waiting(session, limit=drop_folder.AT_ONCE)
    swept += [statement_imports.import_file(file_id) for file_id in waiting]
    return {"files": len(swept), "refused": sum(one.outcome == "refused" for one in swept)}
