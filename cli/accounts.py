"""`billing accounts`: what support looks at."""

import click

from billing.errors import UnknownAccount
from billing.support import explain as explain_account
from billing.support import overview
from cli.screen import console, json_option, show_json, table
from worker import clock
from worker.database import transaction


@click.group()
def accounts() -> None:
    """Look at accounts."""


@accounts.command()
@click.argument("account")
@click.option("--last", default=overview.SHOWN, show_default=True, help="Entries to show.")
@json_option
def show(account: str, last: int, as_json: bool) -> None:
    """Show ACCOUNT (id or slug): balance, lots, holds, last entries and refusals."""
    now = clock.now()
    try:
        with transaction() as ctx:
            seen = overview.of(ctx.at(now), account, last=last)
    except UnknownAccount:
        raise click.ClickException(f"no account has the id or slug {account!r}") from None
    if as_json:
        show_json(seen)
    else:
        _show(seen)


def _show(seen: overview.Overview) -> None:
    reasons = f" ({', '.join(seen.suspension_reasons)})" if seen.suspension_reasons else ""
    console.print(f"account {seen.account_id}  {seen.slug}  {seen.status}{reasons}")
    console.print(
        f"credits {seen.credits:,}   held {seen.held:,}   debt {seen.debt:,}"
        f"   available {seen.available:,}"
    )
    if seen.app_credits != seen.credits:
        drift = seen.app_credits - seen.credits
        console.print(f"DRIFT: the main app shows {seen.app_credits:,} ({drift:+,})", style="red")
    if not seen.is_adopted:
        console.print("not adopted yet: its first debit, grant or seeding opens its book")
    table(
        "lots, in the order they burn",
        ("lot", "source", "remaining", "held", "starts", "expires"),
        [
            (lot.id, lot.source, lot.remaining, lot.held, lot.starts_at, lot.expires_at)
            for lot in seen.lots
        ],
    )
    if seen.holds:
        table(
            "holds under way",
            ("operation", "units", "credits", "placed", "until", "key"),
            [
                (h.operation, h.units, h.credits, h.placed_at, h.expires_at, h.key_text)
                for h in seen.holds
            ],
        )
    table(
        f"last {len(seen.entries)} entries",
        ("entry", "recorded", "what", "amount", "balance", "key"),
        [
            (e.id, e.recorded_at, e.description, e.amount, e.balance_after, e.key)
            for e in seen.entries
        ],
    )
    if seen.refusals:
        table(
            f"last {len(seen.refusals)} refusals",
            ("recorded", "operation", "units", "reason", "key"),
            [(r.recorded_at, r.operation, r.units, r.reason, r.key) for r in seen.refusals],
        )


@accounts.command()
@click.argument("account")
@json_option
def explain(account: str, as_json: bool) -> None:
    """Say why ACCOUNT (id or slug) has the balance it has, from its opening to now."""
    try:
        with transaction() as ctx:
            lines, standing = explain_account.of(ctx, account)
    except UnknownAccount:
        raise click.ClickException(f"no account has the id or slug {account!r}") from None
    if as_json:
        show_json({"lines": lines, "now": standing})
        return
    table(
        f"why the balance of {account} is what it is",
        ("when", "what", "change", "balance"),
        [
            (line.when, line.what, f"{line.change:+,}" if line.count else None, line.balance)
            for line in lines
        ],
    )
    for words in standing:
        console.print(words)
