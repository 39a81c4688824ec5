"""Findings of the audit and of the drift report: open until they are no longer seen."""

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from typing import TypeAlias

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert

from billing.context import Context
from models.operations import Finding

#: The most findings of one check that are stored.
MAX_FINDINGS = 1000

#: By check: (subject, facts) of each breach.
Findings: TypeAlias = Mapping[str, Sequence[tuple[str, Mapping[str, object]]]]


def keep(
    ctx: Context,
    findings: Findings,
    *,
    closes: Collection[str] | None = None,
    since: dt.datetime | None = None,
) -> None:
    """Store the findings of these checks; close those that are no longer seen.

    Args:
        ctx: The context.
        findings: The findings of each check.
        closes: The checks that were made in full; None: all of these.
        since: The time since when a finding that is still there would have been seen; None: now.
    """
    for check, rows in findings.items():
        for subject, facts in rows:
            new = insert(Finding).values(
                check=check, subject=subject, facts=facts, found_at=ctx.now, seen_at=ctx.now
            )
            ctx.session.execute(
                new.on_conflict_do_update(
                    index_elements=[Finding.check, Finding.subject],
                    index_where=Finding.closed_at.is_(None),
                    set_={"facts": new.excluded.facts, "seen_at": new.excluded.seen_at},
                )
            )
    ctx.session.execute(
        update(Finding)
        .where(
            Finding.closed_at.is_(None),
            Finding.seen_at < (since or ctx.now),
            Finding.check.in_(list(findings if closes is None else closes)),
        )
        .values(closed_at=ctx.now)
    )


def seen_since(ctx: Context, checks: Collection[str], since: dt.datetime) -> Findings:
    """The open findings of these checks that were seen at this time or later."""
    rows = ctx.session.scalars(
        select(Finding)
        .where(Finding.closed_at.is_(None), Finding.seen_at >= since, Finding.check.in_(checks))
        .order_by(Finding.id)
    )
    found: dict[str, list[tuple[str, Mapping[str, object]]]] = {check: [] for check in checks}
    for row in rows:
        found[row.check].append((row.subject, row.facts))
    return found
