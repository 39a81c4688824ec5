"""The worker's upkeep: dead letters are collected from Redis, and the ledger is audited."""

import datetime as dt

from billing.operations import findings, slots
from flows import audit, publish_anchors
from worker import clock, dead_letters
from worker.app import app
from worker.database import AUDIT_S, transaction
from worker.settings import settings

HOUR, DAY, WEEK = dt.timedelta(hours=1), dt.timedelta(days=1), dt.timedelta(days=7)
#: The hour, in UTC, from which a full audit runs: few customers are active then.
FULL_AT_HOUR = 2
#: Seconds after which an audit leaves the rest to the next tick.
BUDGET_S = AUDIT_S - 300.0


@app.task(name="upkeep.collect_dead_letters", is_tick=True)
def collect_dead_letters() -> dict[str, object]:
    """Move unreadable and parked messages from Redis into the table of dead letters."""
    return {"collected": dead_letters.collect(app.tasks)}


@app.task(name="upkeep.audit_books", is_tick=True, soft_time_limit=AUDIT_S, time_limit=AUDIT_S + 60)
def audit_books() -> dict[str, object]:
    """Audit what is new in the ledger, once an hour however many beats tick; weekly all of it."""
    now = clock.now()
    if _is_claimed("audit_books", every=HOUR, now=now):
        return {"why_not": "this hour's audit is done"}
    is_night = now.hour >= FULL_AT_HOUR
    is_full = is_night and not _is_claimed("audit_full", every=WEEK, now=now)
    report = audit.run(now=now, is_full=is_full, budget_s=BUDGET_S)
    covered = report.coverage
    answer = {
        "accounts": report.accounts,
        "findings": sum(map(len, report.findings.values())),
        "kind": covered.kind,
        "entries": covered.entries,
        "seconds": covered.seconds,
        "is_complete": covered.is_complete,
    }
    if not covered.is_complete:
        return answer
    if is_night and not _is_claimed("anchors", every=DAY, now=now):
        answer |= _publish(now)
    with transaction() as ctx:
        # The slots are claimed at the end, so the next tick repeats an audit that fails.
        slots.claim(ctx.at(now), "audit_books", every=HOUR)
        if is_full:
            slots.claim(ctx.at(now), "audit_full", every=WEEK)
    return answer


def _publish(now: dt.datetime) -> dict[str, object]:
    """Keep the anchors outside, if the setting names a place; a failure is a finding."""
    where = settings().chain_anchors
    problems: list[tuple[str, dict[str, object]]] = []
    published = 0
    try:
        published = publish_anchors.publish(where, now=now) if where else 0
    except OSError as error:
        facts: dict[str, object] = {"file": where, "problem": error.strerror or str(error)}
        problems = [("file", facts)]
    with transaction() as ctx:
        findings.keep(ctx.at(now), {"anchors_file": problems})
        if not problems:
            slots.claim(ctx.at(now), "anchors", every=DAY)
    return {"anchors": published} if where else {}


def _is_claimed(job: str, *, every: dt.timedelta, now: dt.datetime) -> bool:
    with transaction() as ctx:
        return slots.is_claimed(ctx.at(now), job, every=every)
