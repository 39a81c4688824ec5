"""`billing dunning`: missing payments and the schedule of what follows."""

import click
from sqlalchemy import select

from billing.lifecycle.dunning import cases as dunning_act
from billing.lifecycle.dunning.schedule import SCHEDULE, ScheduledStep
from cli.screen import console, in_json, json_option, limit_option, show_list, table
from cli.topic import Topic
from models.life import DunningCase
from worker.database import transaction


@click.group(cls=Topic)
def dunning() -> None:
    """List missing payments, show the schedule, or write one off."""


@dunning.command("list")
@limit_option("The most cases to list.")
@json_option
def list_cases(limit: int) -> None:
    """List the open cases, the one with the next step first."""
    open_cases = select(DunningCase).where(DunningCase.closed_at.is_(None))
    with transaction() as ctx:
        cases = ctx.session.scalars(open_cases.order_by(DunningCase.due_at).limit(limit)).all()
    columns = (
        "case: id, account: account_id, cause, decline code: decline_code, opened: opened_at"
        ", day: done_until, next step: due_at"
    )
    title = f"{len(cases)} open cases"
    show_list({"cases": cases}, title, columns, cases)


@dunning.command()
@json_option
def schedule() -> None:
    """Show which step runs on which day after a missed payment."""
    if not in_json([step._asdict() for step in SCHEDULE]):
        table("schedule", ScheduledStep._fields, SCHEDULE)


@dunning.command()
@click.argument("account_id", type=int)
def stop(account_id: int) -> None:
    """Write off the missing payment of ACCOUNT_ID. A suspension stays."""
    with transaction() as ctx:
        is_stopped = dunning_act.stop(ctx, account_id, reason="written_off")
    console.print("stopped" if is_stopped else "no case is open")
