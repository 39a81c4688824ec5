"""`billing transfers`: the review queue of bank transfers, and the decisions of reviewers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from billing.bank import unapplied
from billing.bank.errors import UnknownTransfer
from billing.bank.review import decisions, queue, shortfalls, typed_input
from billing.bank.review.decisions import Review
from billing.bank.review.queue import ReviewItem
from billing.bank.review.reviewers import reviewer
from billing.errors import Rejected
from billing.statements.plain import shown_amount
from cli.bank import transfer_report
from cli.screen import console, json_option, show_json, table
from cli.topic import Topic
from flows.bank import match as bank_match
from models.transfers import Transfer
from worker import clock
from worker.database import rehearsal, transaction
from worker.settings import settings

id_argument = click.argument("transfer", type=int)
who_option = click.option(
    "--as", "who", required=True, help="The reviewer: id or email of a developer or superuser."
)
version_option = click.option(
    "--version", required=True, type=int, help="The transfer's version, as the queue shows it."
)
because_option = click.option("--because", "reason", required=True, help="Kept with the decision.")


@click.group(cls=Topic)
def transfers() -> None:
    """Show bank transfers, and decide where the rules may not."""


@transfers.command("review")
@click.option("--limit", default=queue.SHOWN, show_default=True, help="The most to list.")
@json_option
def review_queue(limit: int, as_json: bool) -> None:
    """List the transfers that wait for review, the largest first, with candidates and reasons."""
    with transaction() as ctx:
        items = queue.waiting(ctx.session, limit=limit)
    if as_json:
        show_json({"transfers": items})
        return
    table(
        f"{len(items)} transfers for review",
        ("id", "version", "booked", "amount", "state", "payer", "text", "why", "best candidate"),
        [_row(item) for item in items],
    )


def _row(item: ReviewItem) -> tuple[object, ...]:
    best = item.candidates[0] if item.candidates else None
    candidate = best and f"account {best['account_id']}: {best['why']} ({best['score']})"
    return (
        item.id,
        item.version,
        str(item.booking_date),
        shown_amount(item.amount_minor, item.currency),
        item.state,
        _printable(item.payer or ""),
        _printable(item.text),
        _printable("; ".join([item.review or "", *item.vetoes])),
        candidate and _printable(candidate),
    )


def _printable(text: str) -> str:
    """A payer's text without characters that would control the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


@transfers.command()
@id_argument
@json_option
def show(transfer: int, as_json: bool) -> None:
    """Show every decision about TRANSFER: by which rule or reviewer, and why."""
    with transaction() as ctx:
        if ctx.session.get(Transfer, transfer) is None:
            raise UnknownTransfer(transfer_id=transfer)
        decided = queue.history(ctx.session, transfer)
    if as_json:
        show_json({"decisions": decided})
        return
    table(
        f"decisions about transfer {transfer}",
        ("when", "who", "rule", "outcome", "rules version", "why"),
        [
            (
                decision.decided_at,
                decision.actor,
                decision.rule,
                decision.outcome,
                decision.engine_version,
                _printable("; ".join(decision.evidence.get("reasons", ()))),
            )
            for decision in decided
        ],
    )


@transfers.command()
@json_option
def run(as_json: bool) -> None:
    """Match the new transfers now, as beat does each minute."""
    report = bank_match.run()
    if as_json:
        show_json(report)
        return
    counts = ", ".join(f"{name} {count}" for name, count in report.counts().items())
    console.print(counts or "nothing")


@transfers.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def report(file: Path) -> None:
    """Write an HTML page into FILE: transfers by state, held statements, unapplied cash."""
    with transaction() as ctx:
        page = transfer_report.page(
            queue.figures(ctx.session), queue.waiting(ctx.session), now=clock.now()
        )
    file.write_text(page, encoding="utf-8")
    console.print(f"wrote {file}")


@transfers.command()
@id_argument
@click.argument("invoice")
@who_option
@version_option
def confirm(transfer: int, invoice: str, who: str, version: int) -> None:
    """Let TRANSFER pay INVOICE (its number); any rest is the customer's credit."""

    def act(review: Review) -> str:
        return decisions.confirm(review, [typed_input.part(review, invoice)])

    _decide(transfer, who, version, act)


@transfers.command()
@id_argument
@click.argument("parts", metavar="NUMBER=AMOUNT...", nargs=-1, required=True)
@click.option("--credit", type=int, help="The account that gets the rest as credit.")
@who_option
@version_option
def split(
    transfer: int, parts: tuple[str, ...], credit: int | None, who: str, version: int
) -> None:
    """Let TRANSFER pay several invoices: BT-2026-000001=89.00 BT-2026-000002=11.00."""

    def act(review: Review) -> str:
        return decisions.confirm(
            review, [typed_input.stated_part(review, part) for part in parts], credit_to=credit
        )

    _decide(transfer, who, version, act)


@transfers.command()
@id_argument
@click.option("--invoice", help="The number of the invoice that it pays instead.")
@click.option("--account", type=int, help="The account that gets it as credit instead.")
@because_option
@who_option
@version_option
def reassign(
    *, transfer: int, invoice: str | None, account: int | None, reason: str, who: str, version: int
) -> None:
    """Undo what TRANSFER did, and apply it to another invoice or account."""
    if (invoice is None) == (account is None):
        raise click.UsageError("give --invoice or --account")

    def act(review: Review) -> str:
        parts = [typed_input.part(review, invoice)] if invoice else []
        return decisions.reassign(review, parts, credit_to=account, reason=reason)

    _decide(transfer, who, version, act)


@transfers.command("keep-as-credit")
@id_argument
@click.argument("account", type=int)
@because_option
@who_option
@version_option
def keep_as_credit(transfer: int, account: int, reason: str, who: str, version: int) -> None:
    """Keep TRANSFER as the unapplied cash of ACCOUNT (its id), on no invoice."""
    _decide(
        transfer,
        who,
        version,
        lambda review: decisions.keep_as_credit(review, account, reason=reason),
    )


def _with_reason(name: str, act: Callable[..., str], words: str) -> click.Command:
    @transfers.command(name, help=words)
    @id_argument
    @because_option
    @who_option
    @version_option
    def command(transfer: int, reason: str, who: str, version: int) -> None:
        _decide(transfer, who, version, lambda review: act(review, reason=reason))

    return command


_with_reason("duplicate", decisions.mark_duplicate, "Mark TRANSFER as paid twice; it pays nothing.")
_with_reason("ignore", decisions.ignore, "Ignore TRANSFER: it is no customer's money.")
_with_reason("reject", decisions.reject, "Reject the suggestion for TRANSFER; it goes on waiting.")
_with_reason("undo", decisions.undo, "Undo all that TRANSFER did, by counter-entries.")


@transfers.command()
@id_argument
@who_option
@version_option
def seen(transfer: int, who: str, version: int) -> None:
    """Approve what the rules did with TRANSFER, and take it off the queue."""
    _decide(transfer, who, version, decisions.mark_seen)


@transfers.command()
@id_argument
@click.argument("amount")
@because_option
@who_option
@version_option
def refund(transfer: int, amount: str, reason: str, who: str, version: int) -> None:
    """Request a refund of AMOUNT of TRANSFER; staff send it outside of this system."""

    def act(review: Review) -> str:
        minor = typed_input.amount_of(review, amount)
        return decisions.request_refund(review, minor, reason=reason)

    _decide(transfer, who, version, act)


@transfers.command("use-credit")
@click.argument("invoice")
@who_option
def use_credit(invoice: str, who: str) -> None:
    """Pay INVOICE (its number) with the customer's unapplied cash, as far as it goes."""
    try:
        with transaction() as ctx:
            user = reviewer(ctx.session, who)
            row = typed_input.by_number(ctx.session, invoice)
            used = unapplied.use(ctx, user, row.id)
            shown = shown_amount(used, row.currency)
    except Rejected as error:
        raise click.ClickException(f"{error.name}: {error}") from None
    console.print(f"{shown} used for {invoice}")


@transfers.command("accept-shortfall")
@click.argument("invoice")
@because_option
@who_option
@click.option("--dry-run", is_flag=True, help="Say what would follow, and change nothing.")
def accept_shortfall(invoice: str, reason: str, who: str, dry_run: bool) -> None:
    """Accept what is missing on INVOICE (its number), and let it count as paid."""
    try:
        with rehearsal() if dry_run else transaction() as ctx:
            user = reviewer(ctx.session, who)
            row = typed_input.by_number(ctx.session, invoice)
            accepted = shortfalls.accept(ctx, user, row.id, reason=reason)
            shown = shown_amount(accepted, row.currency)
    except Rejected as error:
        raise click.ClickException(f"{error.name}: {error}") from None
    done = "would be accepted" if dry_run else "accepted"
    console.print(f"{shown} {done} as missing; {invoice} is paid")


def _decide(transfer: int, who: str, version: int, act: Callable[[Review], Any]) -> None:
    limit_minor = settings().four_eyes_minor
    try:
        with transaction() as ctx:
            review = Review(ctx, reviewer(ctx.session, who), transfer, version, limit_minor)
            outcome = act(review)
    except Rejected as error:
        raise click.ClickException(f"{error.name}: {error}") from None
    console.print(f"transfer {transfer}: {outcome}")
