"""Matching of one batch of transfers, and the carrying out of its decisions in sets."""

import dataclasses
import datetime as dt
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Literal, NamedTuple, TypeAlias

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from billing.bank import allocate, transfers
from billing.bank.allocate import Application
from billing.bank.matching import rows, rules
from billing.bank.matching.rows import UndecidedTransfer
from billing.bank.matching.suggestions import BY_AMOUNT, SHOWN, TIMELY
from billing.bank.matching.types import (
    AUTOMATIC,
    MatchDecision,
    MatchingPolicy,
)
from billing.bank.transfers import NewDecision, ReviewRequest
from billing.context import Context
from billing.host import accounts, funding
from models.transfers import Transfer, TransferInvoice

ACTOR = "rule"
#: Decisions that one transaction carries out: it holds their accounts for a few tenths of a second.
AT_ONCE = 100
#: Rules by which a transfer's payer becomes known for an account.
MAKES_PAYER_KNOWN = frozenset({"A1", "A2", "A5"})

#: Whether anything has changed since the last matching: one of these transfers is new, or an
#: invoice is. Invoices are counted, for one with a lower id may be committed later.
_HAS_NEWS = """
SELECT EXISTS (SELECT FROM billing.transfers WHERE state = 'open' AND id = ANY(:ids))
    OR (SELECT count(*) FROM billing.transfer_invoices)
        <> COALESCE((SELECT invoices FROM billing.matching_marks), -1)
"""
_MARK = """
INSERT INTO billing.matching_marks (id, invoices, matched_at) VALUES (1, :invoices, :now)
ON CONFLICT (id) DO UPDATE SET invoices = EXCLUDED.invoices, matched_at = EXCLUDED.matched_at
"""


#: A decision and the version of its transfer that it is for.
Decided: TypeAlias = tuple[MatchDecision, int]


class CarriedOut(NamedTuple):
    """Decisions of a set that changed something, and those that were left: somebody has a lock."""

    changed: list[MatchDecision]
    left: list[MatchDecision]


class Batch(NamedTuple):
    """The undecided transfers of one batch, and the decisions about them.

    Attributes:
        returns: Debits; `returns.settle` decides about each.
        decisions: The others' decisions, each with the version that it is for.
        invoices: The number of invoices that matching saw, for `mark`.
        is_full: Whether more transfers may wait than a batch takes.
        crowded: Transfers beside more of the same amount than a reviewer is shown candidates.
    """

    returns: list[UndecidedTransfer]
    decisions: list[Decided]
    invoices: int
    is_full: bool
    crowded: frozenset[int] = frozenset()


def decide(session: Session, *, policy: MatchingPolicy) -> Batch:
    """Read the undecided transfers, and decide about each that is no return."""
    undecided = rows.undecided(session)
    incoming = [transfer.incoming for transfer in undecided if not transfer.is_return]
    counts = Counter((transfer.currency, transfer.amount_minor) for transfer in incoming)
    # Counted before they are read: one that is issued meanwhile is news for the next run.
    count = select(func.count()).select_from(TransferInvoice)
    invoices = session.execute(count).scalar_one()
    decisions: list[MatchDecision] = []
    ids = [transfer.id for transfer in incoming]
    if ids and session.scalar(text(_HAS_NEWS), {"ids": ids}):
        decisions = rules.match(incoming, rows.read(session, incoming), policy)
    versions = {transfer.incoming.id: transfer.version for transfer in undecided}
    return Batch(
        returns=[transfer for transfer in undecided if transfer.is_return],
        decisions=[(decision, versions[decision.transfer_id]) for decision in decisions],
        invoices=invoices,
        is_full=len(undecided) >= rows.MATCH_AT_ONCE,
        crowded=frozenset(
            transfer.id
            for transfer in incoming
            if counts[transfer.currency, transfer.amount_minor] > SHOWN
        ),
    )


def mark(ctx: Context, invoices: int) -> None:
    """Record that all that waits was matched with so many invoices, and its decisions are kept.

    So the next run rests until a transfer or an invoice is new.
    """
    ctx.session.execute(text(_MARK), {"invoices": invoices, "now": ctx.now})


def in_sets(decisions: Iterable[Decided], *, size: int = AT_ONCE) -> list[list[Decided]]:
    """Cut decisions into sets in which no account gets money twice, each account's in order.

    So a set does what its decisions would do one by one.
    """
    sets: list[list[Decided]] = []
    first: dict[int, int] = {}  # the first set that an account may be in
    unfilled = 0
    for decided in decisions:
        account_id = account_of(decided[0])
        place = unfilled if account_id is None else max(unfilled, first.get(account_id, 0))
        while place < len(sets) and len(sets[place]) == size:
            place += 1
        if place == len(sets):
            sets.append([])
        sets[place].append(decided)
        if account_id is not None:
            first[account_id] = place + 1
        while unfilled < len(sets) and len(sets[unfilled]) == size:
            unfilled += 1
    return sets


def account_of(decision: MatchDecision) -> int | None:
    """The account that gets money by the decision, if any."""
    return decision.account_id if decision.outcome in AUTOMATIC else None


def carry_out(ctx: Context, decision: MatchDecision, version: int) -> bool:
    """Carry out one decision, as `carry_out_all` does; return whether anything changed."""
    return bool(carry_out_all(ctx, [(decision, version)]).changed)


def carry_out_all(
    ctx: Context, decisions: Sequence[Decided], *, crowded: Collection[int] = ()
) -> CarriedOut:
    """Carry out a set of decisions (`in_sets`) in one transaction.

    A transfer that has changed, or that has this decision already, stays as it is. One that
    somebody decides about right now, or whose account is locked, is left for another run. Raises as
    `allocate.apply_all`. PartsRefused says that an invoice has changed since its decision.
    """
    news = _news(ctx.session, decisions, crowded)
    owners = {decision: account_of(decision) for decision, _ in news}
    paying = {account_id for account_id in owners.values() if account_id is not None}
    locked = transfers.lock_free(ctx.session, [decision.transfer_id for decision, _ in news])
    free = set(accounts.try_lock(ctx.session, paying)) if paying else set()
    left = {
        decision
        for decision, _ in news
        if decision.transfer_id not in locked or owners[decision] not in {None, *free}
    }
    doing = [
        decision
        for decision, version in news
        if decision not in left and locked[decision.transfer_id].version == version
    ]
    _write(ctx, doing, locked, free)
    return CarriedOut(doing, sorted(left, key=attrgetter("transfer_id")))


def _write(
    ctx: Context,
    doing: Sequence[MatchDecision],
    locked: Mapping[int, Transfer],
    locked_ids: Collection[int],
) -> None:
    """Record decisions about locked transfers, and let those pay that are automatic.

    `locked_ids`: their accounts.
    """
    if not doing:
        return
    owners = {item.account_id or 0 for item in doing if item.outcome == "settle"}
    ways = funding.ways(ctx, owners) if owners else {}
    by_card = {account_id: way.card_until for account_id, way in ways.items() if way.card_until}
    if by_card:
        doing = [_beside_card(decision, by_card) for decision in doing]
    new = [
        NewDecision(locked[item.transfer_id], item.rule, item.outcome, transfers.evidence_of(item))
        for item in doing
    ]
    ids = transfers.record_decisions(ctx, new, actor=ACTOR)
    applications, requests = [], []
    for decision, decision_id in zip(doing, ids, strict=True):
        transfer = locked[decision.transfer_id]
        if decision.outcome not in AUTOMATIC:
            requests.append(ReviewRequest(transfer, decision.review, decision.rule))
            continue
        transfer.review = decision.review
        known_by: Literal["matched"] | None = (
            "matched" if decision.rule in MAKES_PAYER_KNOWN else None
        )
        applications.append(
            Application(transfer, decision.parts, decision_id, decision.account_id, known_by)
        )
    transfers.request_reviews(ctx, requests)
    if applications:
        allocate.apply_all(ctx, applications, locked_ids=locked_ids)


def _beside_card(decision: MatchDecision, by_card: Mapping[int, dt.datetime]) -> MatchDecision:
    """Keep the money of an account that pays by card as its unapplied cash, and ask a reviewer.

    The invoice would replace the card's subscription, which goes on charging: a person decides.
    `by_card`: when what the card pays for ends, by account.
    """
    card_until = by_card.get(decision.account_id or 0)
    if decision.outcome != "settle" or card_until is None:
        return decision
    why = (
        f"{decision.rule}, but account {decision.account_id} pays by card until"
        f" {card_until.date()}: use the credit for the invoice to change to transfers, or refund it"
    )
    return dataclasses.replace(
        decision,
        outcome="credit",
        parts=(),
        surplus_minor=0,
        review=why,
        vetoes=(*decision.vetoes, why),
    )


def leave_to_reviewer(
    ctx: Context, decision: MatchDecision, version: int, error: Exception
) -> None:
    """Leave a decision to a reviewer because carrying it out failed: a deleted account, say."""
    transfer = transfers.lock(ctx.session, decision.transfer_id, version=version)
    evidence = {
        **transfers.evidence_of(decision),
        "error": type(error).__name__,
        "says": str(error),
    }
    transfers.record_decision(
        ctx, transfer, actor=ACTOR, rule=decision.rule, outcome="suggest", evidence=evidence
    )
    reason = f"{decision.rule}, but {type(error).__name__}"
    transfers.request_review(ctx, transfer, reason, rule=decision.rule)


_RECORDED = """
SELECT t.id, d.rule, d.outcome, d.evidence
FROM billing.transfers AS t JOIN billing.transfer_decisions AS d ON d.id = t.decision_id
WHERE t.id = ANY(:ids)
"""


def _news(
    session: Session, decisions: Sequence[Decided], crowded: Collection[int]
) -> list[Decided]:
    """The decisions, less suggestions that are recorded: none is recorded twice."""
    ids = [item.transfer_id for item, _ in decisions if item.outcome not in AUTOMATIC]
    if not ids:
        return list(decisions)
    recorded = {
        id: _substance(rule, outcome, evidence, is_crowded=id in crowded)
        for id, rule, outcome, evidence in session.execute(text(_RECORDED), {"ids": ids})
    }
    return [
        (decision, version)
        for decision, version in decisions
        if decision.outcome in AUTOMATIC
        or recorded.get(decision.transfer_id)
        != _substance(
            decision.rule,
            decision.outcome,
            transfers.evidence_of(decision),
            is_crowded=decision.transfer_id in crowded,
        )
    ]


def _substance(
    rule: str, outcome: str, evidence: Mapping[str, Any], *, is_crowded: bool
) -> tuple[object, ...]:
    """Return the part that a reviewer acts on: words and scores may count invoices beside it.

    Where many transfers of one amount wait, an invoice of just that amount tells nothing about any
    of them: otherwise each such invoice would write all of them anew.
    """
    candidates = evidence.get("candidates", ())
    if is_crowded:
        candidates = [item for item in candidates if item["score"] > BY_AMOUNT + TIMELY]
        if not candidates and rule == "S4":
            rule, outcome = "X", "none"
    facts = [evidence.get(name) for name in ("account_id", "parts", "vetoes")]
    return (rule, outcome, *facts, [candidate["parts"] for candidate in candidates])
