"""Matching of everything that came by bank, and the billing of bank customers.

Each batch, return and set of decisions has a transaction of its own. All are safe to repeat, and
safe for two workers at once. A transfer that fails, or whose account is locked, leaves the others
alone.
"""

import math
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass

from billiard.exceptions import SoftTimeLimitExceeded

from billing.bank import decide, line_ends, returns
from billing.bank.decide import Decided
from billing.bank.errors import PartsRefused, TransferChanged
from billing.bank.invoicing import obsolete, remind, renew
from billing.bank.line_ends import SPLIT_AT_ONCE
from billing.bank.matching.rows import UndecidedTransfer
from billing.bank.matching.types import MatchDecision, MatchingPolicy
from billing.errors import Rejected
from billing.postgres.transient import is_locked, is_transient
from flows.sweeps import BUDGET_S, TURN_WITHIN_S
from worker.database import transaction
from worker.logs import logger
from worker.settings import settings

log = logger(__name__)


#: Seconds after which a task begins no other batch: the rest waits behind the messages that came
#: meanwhile. A batch is finished, because what is decided together must not depend on the clock.
TURN_S = 10.0
#: Seconds after which even a batch is left, long before the time limit of the task.
LONGEST_S = 120.0
#: Milliseconds that a return waits for a locked account before it is left for the next run.
RETURN_WAITS_MS = 200


@dataclass(slots=True)
class MatchReport:
    """The number of lines split, returns undone, and transfers settled, credited or waiting.

    `left`: transfers left for the next run, because somebody holds their account. `unfinished`:
    whether the time was up before all had their turn.
    """

    lines: int = 0
    returned: int = 0
    settled: int = 0
    credited: int = 0
    waiting: int = 0
    left: int = 0
    unfinished: bool = False

    def counts(self) -> dict[str, object]:
        """The counts that are not zero, for the log line."""
        return {name: count for name, count in asdict(self).items() if count}


def policy() -> MatchingPolicy:
    """The limits on automatic decisions, as configured."""
    return MatchingPolicy(
        auto_limit_minor=settings().auto_limit_minor, trust_after=settings().trust_payer_after
    )


def run(*, budget_s: float = math.inf, longest_s: float = math.inf) -> MatchReport:
    """Split, match and apply all that came; the rest waits for a reviewer or for new facts.

    After `budget_s` seconds the rest is left for the next run, and the report says so; after
    `longest_s` also the rest of a batch.
    """
    report, began = MatchReport(), time.monotonic()
    while _split(report) and not _is_over(report, began + budget_s):
        pass
    while not report.unfinished and _match(report, began + longest_s):
        _is_over(report, began + budget_s)
    return report


def in_turns(again: Callable[..., object]) -> MatchReport:
    """Run for one turn; if more is left, send the task `again`, behind what waits already."""
    report = run(budget_s=TURN_S, longest_s=LONGEST_S)
    if report.unfinished:
        again(expires=TURN_WITHIN_S)
    return report


def _is_over(report: MatchReport, deadline: float) -> bool:
    report.unfinished = time.monotonic() >= deadline
    return report.unfinished


def _split(report: MatchReport) -> bool:
    """Split a batch of lines into transfers; return whether there may be more."""
    with transaction() as ctx:
        count = line_ends.split_lines(ctx)
    report.lines += count
    return count >= SPLIT_AT_ONCE


def _match(report: MatchReport, deadline: float) -> bool:
    """Match one batch of transfers; return whether another pass may do more."""
    limits = policy()
    with transaction() as ctx:
        batch = decide.decide(ctx.session, policy=limits)
    has_undone = False
    for returned in batch.returns:
        has_undone |= _undo(report, returned)
        if _is_over(report, deadline):
            return False
    if has_undone:
        return True  # The invoices of what was returned are open again: decide anew.
    before, locked_ids = report.left, set[int]()
    has_changed = False
    for number, decisions in enumerate(decide.in_sets(batch.decisions)):
        if number and _is_over(report, deadline):
            return False
        has_changed |= _carry_out(report, decisions, locked_ids, batch.crowded)
    if batch.decisions and report.left == before:
        with transaction() as ctx:
            decide.mark(ctx, batch.invoices)
    return batch.is_full and has_changed


def _undo(report: MatchReport, returned: UndecidedTransfer) -> bool:
    """Undo the transfer that a return takes back; return whether anything changed."""
    try:
        with transaction(lock_wait_ms=RETURN_WAITS_MS) as ctx:
            has_changed = returns.settle(ctx, returned)
    except SoftTimeLimitExceeded:
        raise
    except Exception as error:
        if is_locked(error):
            report.left += 1
            return False
        log.warning("return_undo_failed", transfer_id=returned.incoming.id, **_facts(error))
        with transaction() as ctx:
            return returns.leave_to_reviewer(ctx, returned, error)
    report.returned += has_changed
    return has_changed


def _carry_out(
    report: MatchReport,
    decisions: list[Decided],
    locked_ids: set[int],
    crowded: frozenset[int],
) -> bool:
    """Carry out a set of decisions; one that fails is found by halving, and left to a reviewer.

    `locked_ids`: gets the accounts whose transfers were left, so that their later ones wait too.
    Return whether anything changed.
    """
    if locked_ids:
        decisions = [item for item in decisions if decide.account_of(item[0]) not in locked_ids]
    if not decisions:
        return False
    try:
        with transaction() as ctx:
            result = decide.carry_out_all(ctx, decisions, crowded=crowded)
    except SoftTimeLimitExceeded:
        raise
    except Exception as error:
        if is_transient(error):
            raise
        if len(decisions) == 1:
            return _fail(report, *decisions[0], error, locked_ids)
        middle = len(decisions) // 2
        has_changed = _carry_out(report, decisions[:middle], locked_ids, crowded)
        return _carry_out(report, decisions[middle:], locked_ids, crowded) or has_changed
    report.left += len(result.left)
    locked_ids |= {id for item in result.left if (id := decide.account_of(item)) is not None}
    outcomes = Counter(decision.outcome for decision in result.changed)
    report.settled += outcomes["settle"]
    report.credited += outcomes["credit"]
    report.waiting += len(result.changed) - outcomes["settle"] - outcomes["credit"]
    return bool(result.changed)


def _fail(
    report: MatchReport,
    decision: MatchDecision,
    version: int,
    error: Exception,
    locked_ids: set[int],
) -> bool:
    """Leave a decision that could not be carried out to a reviewer, or to the next run."""
    if isinstance(error, PartsRefused):  # The invoice has changed since: the next run decides anew.
        report.left += 1
        locked_ids |= {decision.account_id} if decision.account_id is not None else set()
        return False
    log.warning("transfer_apply_failed", transfer_id=decision.transfer_id, **_facts(error))
    with suppress(TransferChanged), transaction() as ctx:
        decide.leave_to_reviewer(ctx, decision, version, error)
    report.waiting += 1
    return True


def _facts(error: Exception) -> dict[str, object]:
    """A failure's name for the log, and the traceback of a bug. Raises transient errors."""
    if isinstance(error, Rejected):
        return {"error": error.name}
    if is_transient(error):
        raise error
    return {"error": type(error).__name__, "exc_info": error}


def bill(*, budget_s: float = BUDGET_S) -> dict[str, object]:
    """Send the invoices of coming periods, and remind of unpaid ones, until none is due.

    After `budget_s` seconds the rest waits for the next tick.
    """
    counts: Counter[str] = Counter()
    currency, deadline = settings().invoice_currency, time.monotonic() + budget_s
    while True:
        with transaction() as ctx:
            set_aside = obsolete.set_aside(ctx)
        with transaction() as ctx:
            renewed = renew.renew(ctx, currency=currency)
        with transaction() as ctx:
            reminded = remind.remind(ctx)
        counts.update(action.what for action in (*set_aside, *renewed, *reminded))
        if not (set_aside or renewed or reminded) or time.monotonic() >= deadline:
            return dict(counts)
