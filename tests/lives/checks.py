"""The invariants of a life at every moment, by the model's money and the ledger's entries."""

from collections import defaultdict
from dataclasses import dataclass, field

import sqlalchemy as sa

from worker.database import transaction

#: Findings that a person is meant to get.
ALLOWED_FINDINGS = frozenset({"without_access"})
MONEY_REASONS = frozenset({"payment_failed", "trial_over"})


@dataclass
class Given:
    """The credits that an account got for money: in all by way of paying, and by payment."""

    by_way: dict = field(default_factory=lambda: defaultdict(int))
    by_payment: dict = field(default_factory=lambda: defaultdict(int))
    bridges: int = 0


def given(entries):
    """Sum up what an account's entries gave for money, less what was taken back."""
    seen, by_key = Given(), {entry.key: entry for entry in entries}
    for entry in entries:
        reference = entry.reference or ""
        way = "bank" if reference.startswith("billing:") else "card"
        if entry.description == "bridge until the renewal is paid":
            seen.by_way["card"] += entry.amount
            seen.bridges += entry.amount
        elif entry.description == "bridge expired":
            seen.by_way["card"] += entry.amount
        elif entry.type == "grant" and entry.description in ("plan", "top_up", "bank_transfer"):
            if not reference:
                continue  # of the account's own cycle
            seen.by_way[way] += entry.amount
            seen.by_payment[reference] += entry.amount
        elif entry.type == "take_back":
            seen.by_way[way] -= sum(entry.details.values())
        elif entry.type == "reversal" and reference in by_key:
            undone = by_key[reference]
            if undone.type == "take_back":
                way = "bank" if (undone.reference or "").startswith("billing:") else "card"
                seen.by_way[way] += sum(undone.details.values())
    return seen


@dataclass
class Seen:
    """The state of these lives in the worker's database, by account."""

    entries: dict
    waiting: set
    silent: dict
    statuses: dict


_ENTRIES = """
SELECT tenant_id, type, amount, description, idempotency_key AS key, reference,
       metadata AS details
FROM igny8_credit_transactions WHERE tenant_id = ANY(:ids) AND idempotency_key IS NOT NULL
ORDER BY id
"""
_WAITING = "SELECT object_id FROM billing.stripe_events WHERE state IN ('parked', 'failed')"
_SILENT = """
SELECT account, amount_minor FROM billing.transfers
WHERE state IN ('open', 'waiting', 'frozen') AND review IS NULL AND abs(amount_minor) > 1
"""
_STATUSES = """
SELECT a.id, a.status, array_agg(s.reason) FILTER (WHERE s.reason IS NOT NULL)
FROM igny8_tenants AS a LEFT JOIN billing.suspensions AS s
    ON s.account_id = a.id AND s.lifted_at IS NULL
WHERE a.id = ANY(:ids) GROUP BY a.id
"""


def _see(world, lives):
    ids = {"ids": [world.books.ids[life.slug] for life in lives]}
    entries = defaultdict(list)
    with transaction() as ctx:
        for entry in ctx.session.execute(sa.text(_ENTRIES), ids):
            entries[entry.tenant_id].append(entry)
        waiting = set(ctx.session.scalars(sa.text(_WAITING)))
        silent = dict(ctx.session.execute(sa.text(_SILENT)).all())
        rows = ctx.session.execute(sa.text(_STATUSES), ids).all()
    statuses = {id_: (status, set(reasons or ())) for id_, status, reasons in rows}
    return Seen(entries, waiting, silent, statuses)


def of_lives(world, lives):
    """(life, what is wrong) of each of these lives that breaks a rule."""
    waited_for = [life for life in lives if not life.late]
    if not waited_for:
        return
    seen = _see(world, waited_for)
    for life in waited_for:
        if wrong := _wrong(world, life, seen):
            yield life, wrong


def _wrong(world, life, seen):
    account_id = world.books.ids[life.slug]
    got = given(seen.entries[account_id])
    most = life.card.money.most(world.second)
    if got.by_way["card"] > most:
        return f"{got.by_way['card']} credits by card, and the money held bought {most}"
    if got.by_way["bank"] > life.bank.most():
        return (
            f"{got.by_way['bank']} credits by transfer, and the money held bought"
            f" {life.bank.most():.0f}"
        )
    if life.bank.own in seen.silent and life.bank.missing is None:
        return f"a transfer of {seen.silent[life.bank.own]} pays nothing, and nobody is asked"
    return _not_given(world, life, got, seen) or _locked_out(
        world, life, *seen.statuses[account_id]
    )


def _not_given(world, life, got, seen):
    """A payment of which nothing went back gave what it bought, or waits for a person."""
    for piece in life.card.money.untouched():
        payment = piece.invoice
        expected = piece.credits * piece.lots(world.second - 86_400)
        given_ = got.by_payment[payment.id] + got.bridges
        if len(payment.pieces) == 1 and given_ < expected and payment.id not in seen.waiting:
            return f"{payment.id} of {payment.cash} bought {expected}, and gave {given_}"
    return None


def _locked_out(world, life, status, reasons):
    """A customer whose running period is paid is never out for want of money."""
    if life.is_by_hand or status not in ("suspended", "cancelled"):
        return None
    paid = [sub for sub in life.card.subscriptions if _is_paid(life, sub, world.second)]
    if paid and (status == "cancelled" or reasons & MONEY_REASONS):
        return f"{status} {sorted(reasons)}, and {paid[0].id} is paid for"
    return None


def _is_paid(life, sub, now):
    return (
        sub.status == "active"
        and sub.start <= now < sub.end
        and any(
            piece.price > 0 and not (piece.invoice.returned or piece.invoice.disputed)
            for piece in sub.term.pieces
        )
        and not any(bill.subscription is sub for bill in life.card.unpaid)
    )
