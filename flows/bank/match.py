"""A run over what came by bank: lines split, returns undone, transfers matched and settled.

Each step and each transfer has a transaction of its own, keyed by its row and safe to run twice or
by two workers at once; one transfer that fails leaves the others alone.
"""

from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass

from billing.bank import decide, returns, transfers
from billing.bank.errors import TransferChanged
from billing.bank.invoicing import renew
from billing.bank.matching import rows as match_rows
from billing.bank.matching.types import Decision, Policy
from billing.errors import Rejected
from worker.database import transaction
from worker.logs import logger
from worker.settings import settings

log = logger(__name__)


@dataclass(slots=True)
class Ran:
    """How many lines were split, returns undone, transfers settled, credited, and left waiting."""

    lines: int = 0
    returned: int = 0
    settled: int = 0
    credited: int = 0
    waiting: int = 0

    def counts(self) -> dict[str, object]:
        """What happened, for the log line."""
        return {name: count for name, count in asdict(self).items() if count}


def policy() -> Policy:
    """What may be applied by itself, as configured."""
    return Policy(
        auto_limit_minor=settings().auto_limit_minor, trust_after=settings().trust_payer_after
    )


def run() -> Ran:
    """Do all that can be done now. What it leaves is a person's, or waits for what is to come."""
    ran = Ran()
    while True:
        with transaction() as ctx:
            lines = transfers.split_lines(ctx)
        ran.lines += lines
        if not lines:
            break
    _undo_returns(ran)
    while _decide(ran):
        pass
    return ran


def _decide(ran: Ran) -> bool:
    """Decide about as many as one run takes; whether there may be more."""
    with transaction() as ctx:
        decided = decide.decide(ctx.session, policy=policy())
    before = (ran.settled, ran.credited, ran.waiting)
    for decision, version in decided:
        _carry_out(ran, decision, version)
    is_full = len(decided) >= match_rows.AT_ONCE
    return is_full and before != (ran.settled, ran.credited, ran.waiting)


def _undo_returns(ran: Ran) -> None:
    with transaction() as ctx:
        found = returns.waiting(ctx.session)
    for one in found:
        try:
            with transaction() as ctx:
                ran.returned += returns.settle(ctx, one)
        except Rejected as error:
            log.warning("return_left", transfer_id=one.incoming.id, error=error.name)
            with transaction() as ctx:
                returns.leave_to_person(ctx, one, error)


def _carry_out(ran: Ran, decision: Decision, version: int) -> None:
    try:
        with transaction() as ctx:
            done = decide.carry_out(ctx, decision, version)
    except Rejected as error:
        if decide.is_outdated(error):
            return
        log.warning("transfer_left", transfer_id=decision.transfer_id, error=error.name)
        with suppress(TransferChanged), transaction() as ctx:
            decide.leave_to_person(ctx, decision, version, error)
        ran.waiting += 1
        return
    if done:
        ran.settled += decision.outcome == "settle"
        ran.credited += decision.outcome == "credit"
        ran.waiting += not decision.is_automatic


def bill() -> dict[str, object]:
    """Send invoices of periods to come, and take the steps of unpaid ones, until none is due."""
    done: Counter[str] = Counter()
    currency = settings().invoice_currency
    while True:
        with transaction() as ctx:
            renewed = renew.renew(ctx, currency=currency)
        with transaction() as ctx:
            stepped = renew.remind(ctx)
        done.update(one.what for one in (*renewed, *stepped))
        if not renewed and not stepped:
            return dict(done)
