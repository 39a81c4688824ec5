"""Matching of everything that came by bank, and the billing of bank customers.

Each batch, return and transfer has a transaction of its own. All are safe to repeat, and safe for
two workers at once. A transfer that fails leaves the others alone.
"""

from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass

from billing.bank import decide, line_ends, returns
from billing.bank.errors import PartsRefused, TransferChanged
from billing.bank.invoicing import obsolete, remind, renew
from billing.bank.line_ends import SPLIT_AT_ONCE
from billing.bank.matching.rows import UndecidedTransfer
from billing.bank.matching.types import AUTOMATIC, MatchDecision, MatchingPolicy
from billing.errors import Rejected
from worker.database import transaction
from worker.logs import logger
from worker.settings import settings

log = logger(__name__)


@dataclass(slots=True)
class MatchReport:
    """The number of lines split, returns undone, and transfers settled, credited or waiting."""

    lines: int = 0
    returned: int = 0
    settled: int = 0
    credited: int = 0
    waiting: int = 0

    def counts(self) -> dict[str, object]:
        """The counts that are not zero, for the log line."""
        return {name: count for name, count in asdict(self).items() if count}


def policy() -> MatchingPolicy:
    """The limits on automatic decisions, as configured."""
    return MatchingPolicy(
        auto_limit_minor=settings().auto_limit_minor, trust_after=settings().trust_payer_after
    )


def run() -> MatchReport:
    """Split, match and apply all that came; the rest waits for a reviewer or for new facts."""
    report = MatchReport()
    while _split(report):
        pass
    while _match(report):
        pass
    return report


def _split(report: MatchReport) -> bool:
    """Split a batch of lines into transfers; return whether there may be more."""
    with transaction() as ctx:
        count = line_ends.split_lines(ctx)
    report.lines += count
    return count >= SPLIT_AT_ONCE


def _match(report: MatchReport) -> bool:
    """Match one batch of transfers; return whether another pass may do more."""
    limits = policy()
    with transaction() as ctx:
        batch = decide.decide(ctx.session, policy=limits)
    changes = [_undo(report, transfer) for transfer in batch.returns]
    if any(changes):
        return True  # The invoices of what was returned are open again: decide anew.
    changes = [_carry_out(report, decision, version) for decision, version in batch.decisions]
    if batch.decisions:
        with transaction() as ctx:
            decide.mark(ctx, batch.invoices)
    return batch.is_full and any(changes)


def _undo(report: MatchReport, returned: UndecidedTransfer) -> bool:
    """Undo the transfer that a return takes back; return whether anything changed."""
    try:
        with transaction() as ctx:
            has_changed = returns.settle(ctx, returned)
    except Rejected as error:
        log.warning("return_undo_failed", transfer_id=returned.incoming.id, error=error.name)
        with transaction() as ctx:
            return returns.leave_to_reviewer(ctx, returned, error)
    report.returned += has_changed
    return has_changed


def _carry_out(report: MatchReport, decision: MatchDecision, version: int) -> bool:
    """Carry out one decision; return whether anything changed."""
    try:
        with transaction() as ctx:
            has_changed = decide.carry_out(ctx, decision, version)
    except PartsRefused:  # The invoice has changed since: the next run decides anew.
        return False
    except Rejected as error:
        log.warning("transfer_apply_failed", transfer_id=decision.transfer_id, error=error.name)
        with suppress(TransferChanged), transaction() as ctx:
            decide.leave_to_reviewer(ctx, decision, version, error)
        report.waiting += 1
        return True
    if has_changed:
        report.settled += decision.outcome == "settle"
        report.credited += decision.outcome == "credit"
        report.waiting += decision.outcome not in AUTOMATIC
    return has_changed


def bill() -> dict[str, object]:
    """Send the invoices of coming periods, and remind of unpaid ones, until none is due."""
    counts: Counter[str] = Counter()
    currency = settings().invoice_currency
    while True:
        with transaction() as ctx:
            set_aside = obsolete.set_aside(ctx)
        with transaction() as ctx:
            renewed = renew.renew(ctx, currency=currency)
        with transaction() as ctx:
            reminded = remind.remind(ctx)
        counts.update(action.what for action in (*set_aside, *renewed, *reminded))
        if not (set_aside or renewed or reminded):
            return dict(counts)
