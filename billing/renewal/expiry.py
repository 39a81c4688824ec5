"""Expiry: lots whose time is over lose their credits, by an entry each.

A lot can't be spent after its time, swept or not (`billing.ledger.lots`); the sweep brings the
balance in line. Held credits stay with their hold, and expire if it gives them back.
"""

from collections.abc import Collection, Iterable, Sequence
from functools import partial

from billing.context import Context
from billing.host import accounts
from billing.ledger.balance import Balance
from billing.ledger.ledger import Ledger, open_accounts
from billing.ledger.lots import OpenLot
from billing.postgres import sql
from billing.renewal import due, renewals, rollover
from billing.sweep import AT_ONCE, SweepResult, all_or_each


def sweep(ctx: Context, *, limit: int = AT_ONCE) -> list[SweepResult]:
    """Expire up to about `limit` lots whose time is over; empty when none is left.

    Accounts that are due for renewal are renewed first, so that their credits can roll over.
    """
    propose = partial(due.expiries, ctx)
    ids = accounts.lock_due(ctx.session, propose(limit), propose, limit=limit)
    return all_or_each(ctx, ids, _expire) if ids else []


def _expire(ctx: Context, ids: Sequence[int]) -> list[SweepResult]:
    results = renewals.renew_all(ctx, ids)
    ledger = open_accounts(ctx, ids, key_uuids=())
    over = [pair for pair in rollover.expired(ledger) if pair[0].account.is_billable]
    rollover.find_keys(ledger, [lot for _, lot in over])
    ledger.reserve(len(over))
    for balance, lot in over:
        at = lot.expires_at or ctx.now
        entry = rollover.expire(ledger, balance, lot, happened_at=at)
        results.append(
            SweepResult(balance.account.id, "expired", at, expired=-entry.amount, lot_id=lot.id)
        )
    ledger.write()
    return results


def end_trial_credits(ctx: Context, account_ids: Collection[int]) -> int:
    """Expire what is left of these accounts' trial credits; returns the number of credits."""
    return _end_trial_lots(ctx, account_ids)


def end_returned_trial_credits(ctx: Context, account_ids: Iterable[int]) -> int:
    """Expire trial credits that came back after their trial's end; returns the number of credits.

    A reversal or the end of a hold gives them back. Lots of a later grant stay.
    """
    values = {"ids": list(account_ids), "outcomes": list(ENDED)}
    rows = sql.rows(ctx.session, _TRIAL_LOTS, values)
    expired = rollover.expired_before(ctx.session, [lot_id for _, lot_id, _ in rows])
    lots = {lot: id for id, lot, has_ended in rows if has_ended or lot in expired}
    return _end_trial_lots(ctx, sorted(set(lots.values())), lots) if lots else 0


def _end_trial_lots(
    ctx: Context, account_ids: Iterable[int], lot_ids: Collection[int] | None = None
) -> int:
    """Expire the free credits of these accounts' trial lots, or of those with these ids."""
    ledger = open_accounts(ctx, list(account_ids), key_uuids=())
    lots = [
        (balance, lot)
        for balance in ledger.by_account.values()
        for lot in _of_trial(balance)
        if lot_ids is None or lot.id in lot_ids
    ]
    rollover.find_keys(ledger, [lot for _, lot in lots])
    ledger.reserve(len(lots))
    entries = [rollover.expire(ledger, balance, lot, happened_at=ctx.now) for balance, lot in lots]
    ledger.write()
    return -sum([entry.amount for entry in entries])


def end_trial(ledger: Ledger, balance: Balance) -> int:
    """Expire an account's trial credits in a ledger that the caller writes; returns how many.

    Nothing expires where the policy lets trial credits outlive the trial.
    """
    lots = _of_trial(balance) if ledger.ctx.policy.trial_credits_lapse else []
    rollover.find_keys(ledger, lots)
    entries = [rollover.expire(ledger, balance, lot, happened_at=ledger.ctx.now) for lot in lots]
    return -sum([entry.amount for entry in entries])


def _of_trial(balance: Balance) -> list[OpenLot]:
    return [lot for lot in balance.lots if lot.source == "trial" and lot.free]


#: Outcomes of a trial that ended its credits.
ENDED = ("paid", "expired", "cancelled")

_TRIAL_LOTS = """
SELECT l.account_id, l.id,
       t.outcome = ANY(%(outcomes)s::text[]) AND l.recorded_at <= t.ended_at
FROM billing.lots AS l LEFT JOIN billing.trials AS t USING (account_id)
WHERE l.account_id = ANY(%(ids)s::bigint[]) AND l.is_open AND l.source = 'trial'
  AND l.remaining > l.held
"""
