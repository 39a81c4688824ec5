"""Grants: credits given as one lot, once for each key."""

import datetime as dt
from dataclasses import dataclass

from billing.context import Context
from billing.errors import AlreadyExpired, KeyReused
from billing.ledger import entry_rows, idempotency, reversals
from billing.ledger.balance import Balance
from billing.ledger.entry_rows import Entry
from billing.ledger.ledger import Ledger, open_accounts
from billing_client.messages import Grant


@dataclass(frozen=True, slots=True)
class Granted:
    """The entry of a grant; `is_repeat` if an earlier call made it."""

    entry: Entry
    is_repeat: bool = False


def apply(ctx: Context, grant: Grant) -> Granted:
    """Give the credits as one lot, after repaying the account's debt; the same key gives once.

    Raises UnknownAccount, AccountDeleted, AlreadyExpired, BalanceTooLarge or KeyReused, having
    changed nothing.
    """
    uuid = idempotency.as_uuid(grant.key)
    own_uuid = idempotency.own_uuid(grant.account_id, grant.key)
    content = idempotency.digest("grant", grant.account_id, grant.amount, grant.source)
    ledger = open_accounts(ctx, [grant.account_id], key_uuids=[uuid, own_uuid], entries=1)
    if own_uuid in ledger.known_keys or _is_of_another(ledger, grant, uuid, content):
        uuid = own_uuid
    known_key = ledger.known_keys.get(uuid)
    is_marked = known_key is not None and known_key.content == reversals.ANY_CONTENT
    if is_marked:
        marked_by = reversals.reversed_first(ctx.session, [grant.key])
        is_marked = (grant.account_id, grant.key) not in marked_by
    if known_key is not None and not is_marked:
        if known_key.content != content or known_key.entry_id is None:
            raise KeyReused(key=grant.key, account_id=grant.account_id)
        return Granted(
            entry_rows.entries_by_id(ctx.session, [known_key.entry_id])[known_key.entry_id], True
        )
    if is_marked:
        ledger.replace_mark(uuid)
    balance = ledger.of(grant.account_id)
    if grant.expires_at is not None and grant.expires_at <= ctx.now:
        raise AlreadyExpired(key=grant.key, expires_at=grant.expires_at.isoformat())
    entry = pay_in(
        ledger,
        balance,
        grant.amount,
        source=grant.source,
        key=grant.key,
        content=content,
        actor=ctx.actor,
        expires_at=grant.expires_at,
        priority=grant.priority,
        uuid=uuid,
    )
    ledger.write()
    return Granted(entry)


def _is_of_another(ledger: Ledger, grant: Grant, uuid: str, content: int) -> bool:
    """Whether another account has used the key."""
    known_key = ledger.known_keys.get(uuid)
    if known_key is None or known_key.content in (content, reversals.ANY_CONTENT):
        return False
    return bool(idempotency.of_others(ledger.ctx.session, [(grant.account_id, grant.key)]))


def pay_in(
    ledger: Ledger,
    balance: Balance,
    amount: int,
    *,
    source: str,
    key: str,
    content: int,
    actor: str,
    expires_at: dt.datetime | None = None,
    priority: int | None = None,
    uuid: str | None = None,
) -> Entry:
    """Post a grant of `amount` credits as one lot. Raises BalanceTooLarge, having changed nothing.

    For acts that have opened the ledger; the caller writes it.
    """
    lots = ledger.give(
        balance, amount, source=source, key=key, expires_at=expires_at, priority=priority
    )
    return ledger.post(
        balance,
        uuid=uuid,
        content=content,
        amount=amount,
        type="grant",
        description=source,
        key=key,
        actor=actor,
        happened_at=ledger.ctx.now,
        lots=lots,
    )
