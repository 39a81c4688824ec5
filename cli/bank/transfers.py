"""`billing transfers`: the review queue of bank transfers, and the decisions of reviewers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from billing.bank import line_ends, unapplied
from billing.bank.errors import UnknownTransfer
from billing.bank.review import decisions, queue, shortfalls, typed_input
from billing.bank.review.decisions import Review
from billing.bank.review.queue import ReviewItem
from billing.bank.review.reviewers import reviewer
from billing.statements.plain import shown_amount
from cli.bank import transfer_report
from cli.screen import console, in_json, json_option, limit_option, options, show_list
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
@limit_option("The most to list.", default=queue.SHOWN)
@json_option
def review_queue(limit: int) -> None:
    """List the transfers that wait for review, the largest first, with candidates and reasons."""
    with transaction() as ctx:
        items = queue.waiting(ctx.session, limit=limit)
    show_list(
        {"transfers": items},
        f"{len(items)} transfers for review",
        "id, version, booked: booking_date, amount, state, payer, text, why, best candidate",
        items,
        {
            "amount": lambda item: shown_amount(item.amount_minor, item.currency),
            "payer": lambda item: item.payer or "",
            "why": lambda item: "; ".join([item.review or "", *item.vetoes]),
            "best candidate": _best_candidate,
        },
    )


def _best_candidate(item: ReviewItem) -> str | None:
    if not item.candidates:
        return None
    best = item.candidates[0]
    return f"account {best['account_id']}: {best['why']} ({best['score']})"


@transfers.command()
@id_argument
@json_option
def show(transfer: int) -> None:
    """Show every decision about TRANSFER: by which rule or reviewer, and why."""
    with transaction() as ctx:
        if ctx.session.get(Transfer, transfer) is None:
            raise UnknownTransfer(transfer_id=transfer)
        decided = queue.history(ctx.session, transfer)
    show_list(
        {"decisions": decided},
        f"decisions about transfer {transfer}",
        "when: decided_at, who: actor, rule, outcome, rules version: engine_version, why",
        decided,
        {"why": lambda made: "; ".join(made.evidence.get("reasons", ()))},
    )


@transfers.command()
@json_option
def run() -> None:
    """Match the new transfers now, as beat does each minute."""
    report = bank_match.run()
    if in_json(report):
        return
    counts = ", ".join(f"{name} {count}" for name, count in report.counts().items())
    console.print(counts or "nothing")


@transfers.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def report(file: Path) -> None:
    """Write an HTML page into FILE: transfers by state, bank lines by end, unapplied cash."""
    with transaction() as ctx:
        page = transfer_report.page(
            queue.figures(ctx.session),
            queue.waiting(ctx.session),
            now=clock.now(),
            ends=line_ends.ends(ctx.session),
        )
    file.write_text(page, encoding="utf-8")
    console.print(f"wrote {file}")


def decision(
    name: str, *parameters: Callable[..., Any], words: str | None = None
) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a command of a function that decides about the transfer under review."""

    def decorate(act: Callable[..., Any]) -> click.Command:
        @options(id_argument, *parameters, who_option, version_option)
        def command(transfer: int, who: str, version: int, **given: Any) -> None:
            limit_minor = settings().four_eyes_minor
            with transaction() as ctx:
                review = Review(ctx, reviewer(ctx.session, who), transfer, version, limit_minor)
                outcome = act(review, **given)
            console.print(f"transfer {transfer}: {outcome}")

        command.__doc__ = words or act.__doc__
        return transfers.command(name)(command)

    return decorate


@decision("confirm", click.argument("invoice"))
def confirm(review: Review, invoice: str) -> str:
    """Let TRANSFER pay INVOICE (its number); any rest is the customer's credit."""
    return decisions.confirm(review, [typed_input.part(review, invoice)])


@decision(
    "split",
    click.argument("parts", metavar="NUMBER=AMOUNT...", nargs=-1, required=True),
    click.option("--credit", type=int, help="The account that gets the rest as credit."),
)
def split(review: Review, parts: tuple[str, ...], credit: int | None) -> str:
    """Let TRANSFER pay several invoices: BT-2026-000001=89.00 BT-2026-000002=11.00."""
    stated = [typed_input.stated_part(review, part) for part in parts]
    return decisions.confirm(review, stated, credit_to=credit)


@decision(
    "reassign",
    click.option("--invoice", help="The number of the invoice that it pays instead."),
    click.option("--account", type=int, help="The account that gets it as credit instead."),
    because_option,
)
def reassign(review: Review, invoice: str | None, account: int | None, reason: str) -> str:
    """Undo what TRANSFER did, and apply it to another invoice or account."""
    if (invoice is None) == (account is None):
        raise click.UsageError("give --invoice or --account")
    parts = [typed_input.part(review, invoice)] if invoice else []
    return decisions.reassign(review, parts, credit_to=account, reason=reason)


@decision("keep-as-credit", click.argument("account", type=int), because_option)
def keep_as_credit(review: Review, account: int, reason: str) -> str:
    """Keep TRANSFER as the unapplied cash of ACCOUNT (its id), on no invoice."""
    return decisions.keep_as_credit(review, account, reason=reason)


@decision("take-back", click.argument("original", type=int), because_option)
def take_back(review: Review, original: int, reason: str) -> str:
    """Let the debit TRANSFER take back the transfer ORIGINAL; its invoice is open again."""
    return decisions.take_back(review, original, reason=reason)


for name, act, words in (
    ("duplicate", decisions.mark_duplicate, "Mark TRANSFER as paid twice; it pays nothing."),
    ("ignore", decisions.ignore, "Ignore TRANSFER: it is no customer's money."),
    ("reject", decisions.reject, "Reject the suggestion for TRANSFER; it goes on waiting."),
    ("undo", decisions.undo, "Undo all that TRANSFER did, by counter-entries."),
):
    decision(name, because_option, words=words)(act)
decision("seen", words="Approve what the rules did with TRANSFER, and take it off the queue.")(
    decisions.mark_seen
)


@decision("refund", click.argument("amount"), because_option)
def refund(review: Review, amount: str, reason: str) -> str:
    """Request a refund of AMOUNT of TRANSFER; staff send it outside of this system."""
    minor = typed_input.amount_of(review, amount)
    return decisions.request_refund(review, minor, reason=reason)


@transfers.command("use-credit")
@click.argument("invoice")
@who_option
def use_credit(invoice: str, who: str) -> None:
    """Pay INVOICE (its number) with the customer's unapplied cash, as far as it goes."""
    with transaction() as ctx:
        user = reviewer(ctx.session, who)
        row = typed_input.by_number(ctx.session, invoice)
        used = unapplied.use(ctx, user, row.id)
        shown = shown_amount(used, row.currency)
    console.print(f"{shown} used for {invoice}")


@transfers.command("accept-shortfall")
@click.argument("invoice")
@because_option
@who_option
@click.option("--dry-run", is_flag=True, help="Say what would follow, and change nothing.")
def accept_shortfall(invoice: str, reason: str, who: str, dry_run: bool) -> None:
    """Accept what is missing on INVOICE (its number), and let it count as paid."""
    with rehearsal() if dry_run else transaction() as ctx:
        user = reviewer(ctx.session, who)
        row = typed_input.by_number(ctx.session, invoice)
        accepted = shortfalls.accept(ctx, user, row.id, reason=reason)
        shown = shown_amount(accepted, row.currency)
    done = "would be accepted" if dry_run else "accepted"
    console.print(f"{shown} {done} as missing; {invoice} is paid")
