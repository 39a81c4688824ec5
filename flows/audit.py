"""The audit of the whole ledger: short snapshots, one page of accounts or one check in each.

An audit of what is new goes on from each account's anchor, which it moves. A full one reads every
entry. Both can be killed at any time: the next goes on from there.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

from billing.context import Context
from billing.ledger import anchors, compare_anchors
from billing.ledger.compare_anchors import Kept
from billing.operations import findings
from billing.operations.findings import MAX_FINDINGS
from billing.support import audit, ledger_pages, unreadable
from billing.support.audit import Breaches, Coverage, Report
from billing.support.ledger_pages import Page, Position
from worker import clock
from worker.database import AUDIT_S, transaction
from worker.logs import logger

log = logger(__name__)

#: Seconds between two lines about the progress.
PROGRESS_EVERY_S = 30.0
#: Kept anchors that are compared in one snapshot.
KEPT_AT_ONCE = 500

Progress = Callable[[Coverage], None]


@dataclass(slots=True)
class _Run:
    """An audit under way."""

    now: datetime
    is_full: bool
    with_chain: bool
    began: float = field(default_factory=time.monotonic)
    coverage: Coverage = field(default_factory=lambda: Coverage("new"))
    findings: dict[str, Breaches] = field(default_factory=dict)
    #: When the full audit began, which may have been in another process.
    since: datetime | None = None
    #: The last entry that may have a hash of version 1.
    old_until: int | None = None


def run(
    *,
    now: datetime | None = None,
    is_full: bool = False,
    with_chain: bool = True,
    kept: Kept | None = None,
    budget_s: float | None = None,
    on_progress: Progress | None = None,
) -> Report:
    """Audit the ledger, store the findings, and move the anchors.

    Args:
        now: The time of the audit; the clock's if None.
        is_full: Read every entry; else those since the anchors.
        with_chain: Whether to verify the hashes; without, no anchor is moved.
        kept: Anchors that were kept outside the database.
        budget_s: Seconds after which it stops; the next one goes on.
        on_progress: Called now and then.
    """
    this = _Run(now or clock.now(), is_full, with_chain)
    position = _begin(this)
    for name, check in audit.whole_checks(with_chain=with_chain, is_full=is_full).items():
        _add(this, name, _made(this, name, check))
    if kept is not None:
        this.findings["anchors_kept"] = list(_compare_kept(this, kept))
    deadline = None if budget_s is None else this.began + budget_s
    rest = _pages(this, position, deadline, on_progress or _log_progress)
    if rest is None and is_full:
        _check_keys(this)
    return _end(this, rest)


def _begin(this: _Run) -> Position:
    """Say where the audit begins: at the start, or where a full one was interrupted."""
    for name in audit.PAGED + (("seals",) if this.with_chain else ()):
        this.findings[name] = []
    this.findings["unreadable"] = []
    kind = "full" if this.is_full else "new"
    with transaction() as ctx:
        total, _ = anchors.locked_total(ctx)
        since = None if this.is_full else anchors.newest(ctx)
    this.old_until = total.old_until
    this.coverage = Coverage(kind, since=since.isoformat() if since else None)
    if not this.is_full:
        return Position()
    for name in audit.IN_FULL if this.with_chain else ("keys",):
        this.findings[name] = []
    resumed = total.full_after if this.with_chain else None
    this.since = total.full_began_at if resumed is not None else this.now
    this.coverage = replace(this.coverage, resumed_after=resumed)
    return Position(resumed or 0)


def _made(this: _Run, name: str, check: Callable[[Context], Breaches]) -> Breaches:
    """Make a check in a transaction of its own; rows that it can't read are findings."""
    try:
        with transaction(statement_timeout_s=AUDIT_S) as ctx:
            return check(ctx.at(this.now))
    except audit.UNREADABLE_ERRORS as error:
        with transaction(statement_timeout_s=AUDIT_S) as ctx:
            rows = list(unreadable.numbers(ctx))
        _add(this, "unreadable", [audit.failed(name, error), *rows])
        return []


def _add(this: _Run, name: str, new: Breaches) -> None:
    rows = this.findings.setdefault(name, [])
    rows += [finding for finding in new if finding not in rows][: MAX_FINDINGS - len(rows)]


def _pages(
    this: _Run, position: Position | None, deadline: float | None, on_progress: Progress
) -> Position | None:
    """Check page after page; where the time was up, or None after the last page."""
    shown = this.began
    while position is not None:
        page = _page(this, position)
        _keep(this, page)
        position, now = page.next, time.monotonic()
        covered = this.coverage
        this.coverage = replace(
            covered,
            accounts=covered.accounts + page.accounts,
            entries=covered.entries + page.entries,
            seconds=round(now - this.began, 1),
        )
        if now - shown >= PROGRESS_EVERY_S:
            shown = now
            on_progress(this.coverage)
        if deadline is not None and now >= deadline:
            break
    return position


def _page(this: _Run, position: Position) -> Page:
    with transaction(statement_timeout_s=AUDIT_S) as ctx:
        return ledger_pages.check(
            ctx.at(this.now),
            position,
            is_full=this.is_full,
            with_chain=this.with_chain,
            old_until=this.old_until,
        )


def _keep(this: _Run, page: Page) -> None:
    """Record what the page verified and found, so that the next audit goes on from there."""
    for name, subject, facts in page.findings:
        _add(this, name, [(subject, facts)])
    goes_on = this.is_full and page.next is not None
    if not this.with_chain or not (page.anchors or page.findings or page.old_id or goes_on):
        return
    with transaction() as ctx:
        now = ctx.at(this.now)
        anchors.put(now, page.anchors, old_id=page.old_id)
        if this.is_full and page.next is not None:
            anchors.set_full(now, after=page.next.after, began_at=this.since, ended_at=None)
        findings.keep(now, _by_check(page), closes=())


def _by_check(page: Page) -> dict[str, Breaches]:
    rows: dict[str, Breaches] = {}
    for name, subject, facts in page.findings[:MAX_FINDINGS]:
        rows.setdefault(name, []).append((subject, facts))
    return rows


def _check_keys(this: _Run) -> None:
    after: str | None = audit.FIRST_KEY
    while after is not None:
        with transaction(statement_timeout_s=AUDIT_S) as ctx:
            after, breaches = audit.check_keys(ctx, after)
        _add(this, "keys", breaches)


def _compare_kept(this: _Run, kept: Kept) -> Iterator[tuple[str, dict[str, object]]]:
    anchored = list(kept.newest.values())
    for start in range(0, len(anchored), KEPT_AT_ONCE):
        with transaction(statement_timeout_s=AUDIT_S) as ctx:
            batch = anchored[start : start + KEPT_AT_ONCE]
            yield from compare_anchors.compare_kept(ctx.at(this.now), batch)
    if kept.total:
        with transaction() as ctx:
            yield from compare_anchors.compare_total(ctx.at(this.now), kept.total)


def _end(this: _Run, rest: Position | None) -> Report:
    """Store the findings; close those that this audit would have seen."""
    is_complete = rest is None
    left_open = () if this.is_full and this.with_chain else audit.FULL_ONLY
    incomplete = () if is_complete else audit.PAGED + audit.FULL_ONLY
    closes = [name for name in this.findings if name not in (*left_open, *incomplete)]
    with transaction() as ctx:
        now = ctx.at(this.now)
        findings.keep(now, this.findings, closes=closes, since=this.since)
        if this.since and this.coverage.resumed_after is not None:
            seen = findings.seen_since(now, [*audit.PAGED, *audit.FULL_ONLY], this.since)
            for name in this.findings.keys() & seen.keys():
                _add(this, name, [(subject, dict(facts)) for subject, facts in seen[name]])
        if this.with_chain and is_complete:
            anchors.end_old_version(now)
        if this.is_full and this.with_chain and is_complete:
            anchors.set_full(now, after=None, began_at=this.since, ended_at=this.now)
        accounts = audit.count_accounts(now)
    seconds = round(time.monotonic() - this.began, 1)
    coverage = replace(this.coverage, seconds=seconds, is_complete=is_complete)
    return Report(accounts, this.findings, coverage)


def _log_progress(coverage: Coverage) -> None:
    log.info(
        "audit_progress",
        kind=coverage.kind,
        accounts=coverage.accounts,
        entries=coverage.entries,
        seconds=coverage.seconds,
    )
