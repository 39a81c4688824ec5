"""The worker's own upkeep: dead letters out of Redis, and the audit of the books."""

import datetime as dt

from billing.operations import findings, slots
from billing.support import audit
from worker import clock, dead_letters
from worker.app import app
from worker.database import AUDIT_S, transaction

HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)
#: In UTC, when few customers are about.
SEALS_AT_HOUR = 2


@app.task(name="upkeep.collect_dead_letters", is_tick=True)
def collect_dead_letters() -> dict[str, object]:
    """Move what could not be read, or not be kept, from Redis into the table of dead letters."""
    return {"collected": dead_letters.collect(app.tasks)}


@app.task(
    name="upkeep.audit_books",
    is_tick=True,
    soft_time_limit=AUDIT_S,
    time_limit=AUDIT_S + 60,
)
def audit_books() -> dict[str, object]:
    """Look whether the books agree, once an hour however many beats tick."""
    now = clock.now()
    if _is_claimed("audit_books", every=HOUR, now=now):
        return {"why_not": "this hour's audit is done"}
    # Once a night it also reads every seal.
    with_seals = now.hour >= SEALS_AT_HOUR and not _is_claimed("audit_seals", every=DAY, now=now)
    with transaction(statement_timeout_s=AUDIT_S) as ctx:
        report = audit.run(ctx.at(now), with_seals=with_seals)
    with transaction() as ctx:
        # Claimed with what it found: an audit that fails is done again by the next tick.
        if not slots.claim(ctx.at(now), "audit_books", every=HOUR):
            return {"why_not": "another audit was faster"}
        if with_seals:
            slots.claim(ctx.at(now), "audit_seals", every=DAY)
        findings.keep(ctx.at(now), report.findings)
    return {"accounts": report.accounts, "findings": sum(map(len, report.findings.values()))}


def _is_claimed(job: str, *, every: dt.timedelta, now: dt.datetime) -> bool:
    with transaction() as ctx:
        return slots.is_claimed(ctx.at(now), job, every=every)
