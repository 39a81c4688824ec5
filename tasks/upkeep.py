"""The worker's upkeep: dead letters are collected from Redis, and the ledger is audited."""

import datetime as dt

from billing.operations import findings, slots
from billing.support import audit
from worker import clock, dead_letters
from worker.app import app
from worker.database import AUDIT_S, transaction

HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)
#: The hour, in UTC, from which the hash chain is verified: few customers are active then.
CHAIN_AT_HOUR = 2


@app.task(name="upkeep.collect_dead_letters", is_tick=True)
def collect_dead_letters() -> dict[str, object]:
    """Move unreadable and parked messages from Redis into the table of dead letters."""
    return {"collected": dead_letters.collect(app.tasks)}


@app.task(name="upkeep.audit_books", is_tick=True, soft_time_limit=AUDIT_S, time_limit=AUDIT_S + 60)
def audit_books() -> dict[str, object]:
    """Audit the ledger, once an hour however many beats tick."""
    now = clock.now()
    if _is_claimed("audit_books", every=HOUR, now=now):
        return {"why_not": "this hour's audit is done"}
    # Once a night it also verifies every hash of the chain.
    with_chain = now.hour >= CHAIN_AT_HOUR and not _is_claimed("audit_seals", every=DAY, now=now)
    with transaction(statement_timeout_s=AUDIT_S) as ctx:
        report = audit.run(ctx.at(now), with_chain=with_chain)
    with transaction() as ctx:
        # The slot is claimed with the findings, so the next tick repeats an audit that fails.
        if not slots.claim(ctx.at(now), "audit_books", every=HOUR):
            return {"why_not": "another audit was faster"}
        if with_chain:
            slots.claim(ctx.at(now), "audit_seals", every=DAY)
        findings.keep(ctx.at(now), report.findings)
    return {"accounts": report.accounts, "findings": sum(map(len, report.findings.values()))}


def _is_claimed(job: str, *, every: dt.timedelta, now: dt.datetime) -> bool:
    with transaction() as ctx:
        return slots.is_claimed(ctx.at(now), job, every=every)
