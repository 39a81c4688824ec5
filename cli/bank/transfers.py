"""`billing transfers`: the queue of transfers that wait for a person, and what a person decides."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from billing.bank import unapplied
from billing.bank.review import decisions, queue, typed_input
from billing.bank.review.decisions import Review
from billing.bank.review.queue import Waiting
from billing.bank.review.reviewers import staff
from billing.errors import Rejected
from billing.statements.plain import shown_amount
from cli.bank import transfer_report
from cli.screen import console, json_option, show_json, table
from flows.bank import match as bank_match
from worker import clock
from worker.database import transaction
from worker.settings import settings

id_argument = click.argument("transfer", type=int)
who_option = click.option(
    "--as", "who", required=True, help="Who decides: id or email of a developer or superuser."
)
version_option = click.option(
    "--version", required=True, type=int, help="The transfer's version, as the queue showed it."
)
because_option = click.option("--because", "reason", required=True, help="Kept with the decision.")


@click.group()
def transfers() -> None:
    """Look at money that came by bank, and decide what rules may not."""


@transfers.command("review")
@click.option("--limit", default=queue.SHOWN, show_default=True)
@json_option
def review_queue(limit: int, as_json: bool) -> None:
    """List what waits for a person, the largest amount first, with candidates and reasons."""
    with transaction() as ctx:
        found = queue.waiting(ctx.session, limit=limit)
    if as_json:
        show_json({"transfers": found})
        return
    table(
        f"{len(found)} transfers for a person",
        ("id", "version", "booked", "amount", "state", "payer", "says", "why", "best candidate"),
        [_row(one) for one in found],
    )


def _row(one: Waiting) -> tuple[object, ...]:
    best = one.candidates[0] if one.candidates else None
    candidate = best and f"account {best['account_id']}: {best['why']} ({best['score']})"
    return (
        one.id,
        one.version,
        str(one.booking_date),
        shown_amount(one.amount_minor, one.currency),
        one.state,
        _printable(one.payer or ""),
        _printable(one.text),
        _printable("; ".join([one.review or "", *one.vetoes])),
        candidate and _printable(candidate),
    )


def _printable(said: str) -> str:
    """A payer's text without what would drive the terminal."""
    return "".join(each if each.isprintable() else "?" for each in said)


@transfers.command()
@id_argument
@json_option
def show(transfer: int, as_json: bool) -> None:
    """Show every decision about TRANSFER: by which rule or person, and why."""
    with transaction() as ctx:
        told = queue.history(ctx.session, transfer)
    if as_json:
        show_json({"decisions": told})
        return
    table(
        f"decisions about transfer {transfer}",
        ("when", "who", "rule", "outcome", "version", "why"),
        [
            (
                one.decided_at,
                one.actor,
                one.rule,
                one.outcome,
                one.engine_version,
                _printable("; ".join(one.evidence.get("reasons", ()))),
            )
            for one in told
        ],
    )


@transfers.command()
@json_option
def run(as_json: bool) -> None:
    """Match now what has come, as beat does each minute."""
    ran = bank_match.run()
    if as_json:
        show_json(ran)
        return
    console.print(", ".join(f"{name} {count}" for name, count in ran.counts().items()) or "nothing")


@transfers.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def report(file: Path) -> None:
    """Write a page for a browser into FILE: matched, held, waiting, unapplied, with amounts."""
    with transaction() as ctx:
        page = transfer_report.page(
            queue.sums(ctx.session), queue.waiting(ctx.session), now=clock.now()
        )
    file.write_text(page, encoding="utf-8")
    console.print(f"wrote {file}")


@transfers.command()
@id_argument
@click.argument("invoice")
@who_option
@version_option
def confirm(transfer: int, invoice: str, who: str, version: int) -> None:
    """TRANSFER pays INVOICE (its number), as far as it goes; the rest is the customer's credit."""

    def act(review: Review) -> str:
        return decisions.confirm(review, [typed_input.part(review, invoice)])

    _decide(transfer, who, version, act)


@transfers.command()
@id_argument
@click.argument("parts", metavar="NUMBER=AMOUNT...", nargs=-1, required=True)
@click.option("--credit", type=int, help="The account whose credit the rest is.")
@who_option
@version_option
def split(
    transfer: int, parts: tuple[str, ...], credit: int | None, who: str, version: int
) -> None:
    """TRANSFER pays several invoices, such as BT-2026-000001=89.00 BT-2026-000002=11.00."""

    def act(review: Review) -> str:
        return decisions.confirm(
            review, [typed_input.stated_part(review, part) for part in parts], credit_to=credit
        )

    _decide(transfer, who, version, act)


@transfers.command()
@id_argument
@click.option("--invoice", help="The number of the invoice that it pays instead.")
@click.option("--account", type=int, help="The account whose credit it is instead.")
@because_option
@who_option
@version_option
def reassign(
    *, transfer: int, invoice: str | None, account: int | None, reason: str, who: str, version: int
) -> None:
    """Undo what TRANSFER did, and give it to another invoice or account."""
    if (invoice is None) == (account is None):
        raise click.UsageError("say --invoice or --account")

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
    """TRANSFER is the unapplied cash of ACCOUNT (its id), and on no invoice yet."""
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


_with_reason("duplicate", decisions.mark_duplicate, "TRANSFER was paid twice; it pays nothing.")
_with_reason("ignore", decisions.ignore, "TRANSFER is none of a customer's.")
_with_reason("reject", decisions.reject, "TRANSFER is not what was suggested; it goes on waiting.")
_with_reason("undo", decisions.undo, "Take back all that TRANSFER did, by counter-entries.")


@transfers.command()
@id_argument
@who_option
@version_option
def seen(transfer: int, who: str, version: int) -> None:
    """What the rules did with TRANSFER is right: take it off the queue."""
    _decide(transfer, who, version, decisions.mark_seen)


@transfers.command()
@id_argument
@click.argument("amount")
@because_option
@who_option
@version_option
def refund(transfer: int, amount: str, reason: str, who: str, version: int) -> None:
    """Ask for AMOUNT of TRANSFER to go back to its payer; it is sent by people, elsewhere."""

    def act(review: Review) -> str:
        minor = typed_input.amount_of(review, amount)
        return decisions.request_refund(review, minor, reason=reason)

    _decide(transfer, who, version, act)


@transfers.command("use-credit")
@click.argument("invoice")
@who_option
def use_credit(invoice: str, who: str) -> None:
    """Let the customer's unapplied cash pay INVOICE (its number), as far as it goes."""
    try:
        with transaction() as ctx:
            person = staff(ctx.session, who)
            found = typed_input.by_number(ctx.session, invoice)
            used = unapplied.use(ctx, person, found.id)
            shown = shown_amount(used, found.currency)
    except Rejected as error:
        raise click.ClickException(f"{error.name}: {error}") from None
    console.print(f"{shown} used for {invoice}")


def _decide(transfer: int, who: str, version: int, act: Callable[[Review], Any]) -> None:
    limit = settings().four_eyes_minor
    try:
        with transaction() as ctx:
            review = Review(ctx, staff(ctx.session, who), transfer, version, limit)
            outcome = act(review)
    except Rejected as error:
        raise click.ClickException(f"{error.name}: {error}") from None
    console.print(f"transfer {transfer}: {outcome}")
