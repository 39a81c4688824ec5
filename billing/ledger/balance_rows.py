"""Balances and lots as rows: read and written in one statement for all accounts of a transaction.

The statements of the hot path are SQL functions whose plans Postgres keeps.
"""

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from billing.context import Context
from billing.host.accounts import PLAN_TERMS, SYSTEM_SLUGS, HostAccount, PlanTerms
from billing.ledger import entry_rows, idempotency
from billing.ledger.balance import Balance
from billing.ledger.idempotency import KnownKey
from billing.ledger.lots import OpenLot, burn_order
from billing.postgres import sql

# Columns of billing.locked_books: the account's, then the balance's, then one lot's.
_ACCOUNT, _BALANCE, _IS_DUE, _LOT = slice(0, 7), slice(7, 16), 16, slice(17, None)

#: Statuses with access to the product.
WITH_ACCESS = frozenset({"trial", "active", "pending_payment"})


class OpenAccounts(NamedTuple):
    """The accounts of a transaction, as read under their locks.

    Attributes:
        balances: By account id; accounts that do not exist are missing.
        keys: Those of the requested idempotency keys that are taken, by uuid.
        terms: The terms of every plan, by plan id.
        due: Accounts whose period has ended, and which no sweep has renewed yet.
        entry_ids: Ids reserved for new entries, ascending.
        lot_ids: Ids reserved for new lots, ascending.
    """

    balances: dict[int, Balance]
    keys: dict[str, KnownKey]
    terms: dict[int | None, PlanTerms]
    due: list[int]
    entry_ids: list[int]
    lot_ids: list[int]


@dataclass(slots=True)
class NewLot:
    """A lot to be written, with the key of its grant."""

    account_id: int
    source: str
    priority: int
    is_promotional: bool
    granted: int
    remaining: int
    starts_at: dt.datetime | None
    expires_at: dt.datetime | None
    key: str
    period_number: int | None = None


_LOCKED = "SELECT * FROM billing.locked_books(%(ids)s::bigint[], %(now)s)"


def read_accounts(
    ctx: Context, ids: Collection[int], *, uuids: Collection[str], entries: int = 0, lots: int = 0
) -> OpenAccounts:
    """Lock these accounts in ascending id and read all that an act on their credits needs.

    Accounts without a balance are adopted: they start with what the main app shows. Each read is a
    statement of its own after the lock, so that it sees what the last holder of the lock committed.
    The lock is that of `billing.host.accounts.lock`.

    Args:
        ctx: The context.
        ids: The accounts.
        uuids: Idempotency keys to look up (`idempotency.as_uuid`).
        entries: Entry ids to reserve.
        lots: Lot ids to reserve.
    """
    reserved = {"entries": entries, "lots": lots}
    locked, keys, terms, *ids_rows = sql.rows_of_each(
        ctx.session,
        [
            (_LOCKED, {"ids": sql.numbers(ids), "now": ctx.now}),
            (idempotency.LOOKUP, {"keys": "{" + ",".join(uuids) + "}"}),
            (PLAN_TERMS, {}),
            *([(entry_rows.NEXT_IDS, reserved)] if entries or lots else []),
        ],
    )
    if missing := {row[0] for row in locked if row[_BALANCE][0] is None}:
        _adopt(ctx, missing)
        # Read again, entry ids too: those of the opening entries come first.
        return read_accounts(ctx, ids, uuids=uuids, entries=entries, lots=lots)
    ((entry_ids, lot_ids),) = ids_rows[0] if ids_rows else [((), ())]
    plans = {row[0]: PlanTerms._make(row[1:]) for row in terms}
    return OpenAccounts(
        _balances(ctx, locked, plans),
        {uuid: KnownKey(content, entry_id) for uuid, content, entry_id in keys},
        plans,
        list(dict.fromkeys([row[0] for row in locked if row[_IS_DUE]])),
        list(entry_ids or ()),
        list(lot_ids or ()),
    )


def _adopt(ctx: Context, ids: Iterable[int]) -> None:
    """Start the balances of these accounts at the credits that the main app shows."""
    ctx.session.connection().exec_driver_sql(
        "SELECT billing.open_book(id, %(now)s) FROM unnest(%(ids)s::bigint[]) AS id",
        {"ids": list(ids), "now": ctx.now},
    )


def _balances(
    ctx: Context, locked: Iterable[sql.Row], plans: dict[int | None, PlanTerms]
) -> dict[int, Balance]:
    balances: dict[int, Balance] = {}
    for row in locked:
        if row[_BALANCE][0] is None:
            continue
        balance = balances.get(row[0])
        if balance is None:
            balance = balances[row[0]] = _balance(ctx, row, plans)
        if row[_LOT][0] is not None:
            balance.lots.append(_open_lot(ctx, row[_LOT]))
    for balance in balances.values():
        if len(balance.lots) > 1:
            balance.lots.sort(key=burn_order)
    return balances


def _balance(ctx: Context, row: sql.Row, plans: dict[int | None, PlanTerms]) -> Balance:
    account = HostAccount._make(row[_ACCOUNT])
    plan = plans.get(account.plan_id)
    credits, debt, held, opening, spent, spent_since, chain, cap, frozen = row[_BALANCE]
    last_hash = chain and bytes(chain)
    return Balance(
        account=account,
        credits=credits,
        debt=debt,
        debt_limit=plan.debt_limit if plan else 0,
        held=held,
        opening_credits=opening,
        spent=spent,
        spent_since=spent_since,
        spend_cap=cap,
        frozen=frozen,
        last_hash=last_hash,
        lots=[],
        now=ctx.now,
        was_credits=credits,
        as_read=(credits, debt, held, spent, spent_since, last_hash),
        no_access_reason=no_access_reason(account, plan),
    )


def no_access_reason(account: HostAccount, plan: PlanTerms | None) -> str | None:
    """Return why the account has no access to the product; None if it has access.

    The rules and reasons of the view `billing.account_access`, without the reason of a suspension.
    """
    if account.is_deleted:
        return "deleted"
    if account.slug in SYSTEM_SLUGS:
        return None
    if account.status not in WITH_ACCESS:
        is_known = account.status in ("suspended", "cancelled")
        return account.status if is_known else "unknown_status"
    if plan is None:
        return "no_plan"
    return None if plan.is_active else "plan_inactive"


def _open_lot(ctx: Context, columns: Sequence[Any]) -> OpenLot:
    id, source, priority, is_promotional, remaining, held, starts_at, expires_at = columns
    # starts_at is NULL rather than the time of the grant: another worker that waits for the
    # account's lock may have read its clock a moment earlier, and would not see the lot as started.
    has_started = starts_at is None or starts_at <= ctx.now
    is_live = has_started and (expires_at is None or expires_at > ctx.now)
    return OpenLot(
        id=id,
        source=source,
        priority=priority,
        is_promotional=is_promotional,
        remaining=remaining,
        held=held,
        starts_at=starts_at,
        expires_at=expires_at,
        is_live=is_live,
        as_read=(remaining, held),
    )


_LOT_COLUMNS = (
    "account_id, id, source, priority, is_promotional, remaining, held, starts_at, expires_at"
)


def read_lots(ctx: Context, ids: Iterable[int]) -> dict[int, list[OpenLot]]:
    """Read the lots with credits left, by account."""
    lots: dict[int, list[OpenLot]] = {}
    rows = ctx.session.connection().exec_driver_sql(
        f"SELECT {_LOT_COLUMNS} FROM billing.lots"  # noqa: S608 - our own column names
        " WHERE account_id = ANY(%(ids)s::bigint[]) AND is_open",
        {"ids": sql.numbers(ids)},
    )
    for account_id, *columns in rows.all():
        lots.setdefault(account_id, []).append(_open_lot(ctx, columns))
    return lots


def read_lots_by_id(ctx: Context, lot_ids: Iterable[int]) -> list[OpenLot]:
    """Read these lots, spent or not."""
    rows = ctx.session.connection().exec_driver_sql(
        f"SELECT {_LOT_COLUMNS} FROM billing.lots"  # noqa: S608 - our own column names
        " WHERE id = ANY(%(ids)s::bigint[])",
        {"ids": sql.numbers(lot_ids)},
    )
    return [_open_lot(ctx, columns) for _, *columns in rows]


def open_new_lot(ctx: Context, lot_id: int, lot: NewLot) -> OpenLot:
    """Open a new lot, which `write` inserts."""
    columns = (lot_id, lot.source, lot.priority, lot.is_promotional, lot.remaining, 0)
    return _open_lot(ctx, (*columns, lot.starts_at, lot.expires_at))


_NEW_LOT_COLUMNS = (
    "id, account_id, source, priority, is_promotional, granted, remaining, held, starts_at,"
    " expires_at, key, period_number, recorded_at"
)


def _insert_lots(ctx: Context, new_lots: Iterable[tuple[NewLot, OpenLot]]) -> None:
    lines: list[str] = []
    for new, lot in new_lots:
        key = sql.copy_text(new.key)
        lines.append(
            f"{lot.id}\x1f{new.account_id}\x1f{lot.source}\x1f{lot.priority}\x1f"
            f"{lot.is_promotional}\x1f{new.granted}\x1f{lot.remaining}\x1f{lot.held}\x1f"
            f"{lot.starts_at}\x1f{lot.expires_at}\x1f{key}\x1f{new.period_number}\x1f{ctx.now}\n"
        )
    sql.copy(ctx.session, "billing.lots", _NEW_LOT_COLUMNS, lines)


_WRITE = """
SELECT billing.write_books(
    %(lot_ids)s::bigint[], %(remaining)s::int[], %(lot_held)s::int[],
    %(ids)s::bigint[], %(credits)s::int[], %(debt)s::int[], %(debt_limit)s::int[], %(held)s::int[],
    %(spent)s::int[], %(spent_since)s::timestamptz[], %(chain)s::bytea[], %(deltas)s::int[])
"""


def write(
    ctx: Context,
    balances: Sequence[Balance],
    lots: Sequence[OpenLot],
    new_lots: Sequence[tuple[NewLot, OpenLot]] = (),
) -> None:
    """Write these balances and lots, and move the main app's balances by as much.

    New lots are inserted as they are now, by one COPY.
    """
    if new_lots:
        _insert_lots(ctx, new_lots)
        inserted = {lot.id for _, lot in new_lots}
        lots = [lot for lot in lots if lot.id not in inserted]
    if not balances and not lots:
        return
    values = {
        "lot_ids": sql.numbers([lot.id for lot in lots]),
        "remaining": sql.numbers([lot.remaining for lot in lots]),
        "lot_held": sql.numbers([lot.held for lot in lots]),
        "ids": sql.numbers([balance.account.id for balance in balances]),
        "credits": sql.numbers([balance.credits for balance in balances]),
        "debt": sql.numbers([balance.debt for balance in balances]),
        # A debt may be older than the plan's present limit.
        "debt_limit": sql.numbers([max(b.debt_limit, b.debt) for b in balances]),
        "held": sql.numbers([balance.held for balance in balances]),
        "spent": sql.numbers([balance.spent for balance in balances]),
        "spent_since": sql.times([balance.spent_since for balance in balances]),
        "chain": sql.binaries([balance.last_hash for balance in balances]),
        "deltas": sql.numbers([balance.credits - balance.was_credits for balance in balances]),
    }
    sql.rows(ctx.session, _WRITE, values)
