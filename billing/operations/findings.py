"""Findings of the audit and of the drift report: open until they are no longer seen."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from sqlalchemy import update
from sqlalchemy.dialects.postgresql import insert

from billing.context import Context
from models.operations import Finding

#: The most findings of one check that are stored.
MAX_FINDINGS = 1000

#: By check: (subject, facts) of each breach.
Findings: TypeAlias = Mapping[str, Sequence[tuple[str, Mapping[str, object]]]]


def keep(ctx: Context, findings: Findings) -> None:
    """Store the findings of these checks; close those that are no longer seen."""
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
            Finding.seen_at < ctx.now,
            Finding.check.in_(list(findings)),
        )
        .values(closed_at=ctx.now)
    )
