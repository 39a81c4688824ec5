"""The overview of an account for support: balance, lots, holds, last entries and refusals."""

from dataclasses import dataclass

from billing.context import Context
from billing.errors import UnknownAccount
from billing.host import accounts
from billing.ledger import balance_rows as rows
from billing.ledger import stored_entries
from billing.ledger.entry_rows import Entry
from billing.ledger.lots import OpenLot, burn_order
from billing.ledger.stored_entries import Unreadable
from billing.lifecycle import status
from billing.usage import holds, refusals
from models.credits import AccountBalance, Hold, Refusal

#: Entries and refusals that are shown by default.
SHOWN = 20


@dataclass(frozen=True, slots=True)
class Overview:
    """An account. `app_credits`: the balance of the main app; `is_adopted`: ours is there.

    `unreadable`: sentences about those of the last entries that can't be read.
    """

    account_id: int
    slug: str
    status: str
    suspension_reasons: list[str]
    app_credits: int
    credits: int
    held: int
    debt: int
    available: int
    is_adopted: bool
    lots: list[OpenLot]
    holds: list[Hold]
    entries: list[Entry]
    refusals: list[Refusal]
    unreadable: list[str]


def of(ctx: Context, id_or_slug: str, *, last: int = SHOWN) -> Overview:
    """Read the account with this id or slug. Raises UnknownAccount."""
    account = accounts.read(ctx.session, id_or_slug)
    if account is None:
        raise UnknownAccount(account_id=id_or_slug)
    balance = ctx.session.get(AccountBalance, account.id)
    lots = sorted(rows.read_lots(ctx, [account.id]).get(account.id, ()), key=burn_order)
    entries = stored_entries.last(ctx.session, account.id, count=last)[::-1]
    free = sum([lot.free for lot in lots if lot.is_live])
    debt = balance.debt if balance else 0
    return Overview(
        account_id=account.id,
        slug=account.slug,
        status=account.status,
        suspension_reasons=status.suspension_reasons(ctx.session, account.id),
        app_credits=account.credits,
        credits=balance.credits if balance else account.credits,
        held=balance.held if balance else 0,
        debt=debt,
        available=max(free - debt, 0) if balance else max(account.credits, 0),
        is_adopted=balance is not None,
        lots=lots,
        holds=holds.open_of(ctx.session, account.id, count=last),
        entries=stored_entries.readable(entries),
        refusals=refusals.last(ctx.session, account.id, count=last),
        unreadable=[str(row) for row in entries if isinstance(row, Unreadable)],
    )
