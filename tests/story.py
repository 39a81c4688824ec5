"""The words in which tests tell little ledgers: open an account, debit, grant, read the history."""

import datetime as dt
import textwrap
from dataclasses import dataclass, field

from sqlalchemy import insert, select, update

from billing.ledger import grants
from billing.lifecycle import status
from billing.purchases import credits_back
from billing.renewal import expiry, plan_changes, renewals, repairs, signup_grant
from billing.support import audit, overview
from billing.sweep import SweepResult
from billing.usage import post
from billing.usage.post import Answer
from billing_client import Debit, Grant
from flows import audit as whole_audit
from models.calendar import CreditCalendar
from models.credits import PlanPolicy
from models.host import Account, CreditTransaction, Plan
from worker.database import transaction

NOON = dt.datetime(2026, 3, 1, 12, 0, tzinfo=dt.UTC)


def as_text(entries) -> str:
    """A ledger as a table: description, amount, balance."""
    width = max([len(entry.description) for entry in entries], default=0) + 2
    return "\n".join(
        [f"{e.description:<{width}}{e.amount:>+8}{e.balance_after:>9}" for e in entries]
    )


@dataclass
class Ledger:
    """Real books in a real database; accounts go by their slug, time moves only when told."""

    now: dt.datetime = NOON
    ids: dict[str, int] = field(default_factory=dict)

    def plan(self, slug="starter", *, included_credits=1000, **policy) -> int:
        with transaction() as ctx:
            found = ctx.session.execute(select(Plan.id).where(Plan.slug == slug)).scalar()
            if found is not None:
                return found
            values = {"slug": slug, "name": slug, "price": 0, "max_sites": 1, "max_users": 1}
            plan_id = ctx.session.execute(
                insert(Plan).values(**values, included_credits=included_credits).returning(Plan.id)
            ).scalar_one()
            if policy:
                ctx.session.execute(insert(PlanPolicy).values(plan_id=plan_id, **policy))
        return plan_id

    def open_account(self, slug, *, credits=0, plan="starter", status="active", **fields) -> int:
        plan_id = self.plan(plan) if plan else None
        fields.setdefault("created_at", self.now)
        with transaction() as ctx:
            self.ids[slug] = ctx.session.execute(
                insert(Account)
                .values(
                    slug=slug, name=slug, credits=credits, plan_id=plan_id, status=status, **fields
                )
                .returning(Account.id)
            ).scalar_one()
        return self.ids[slug]

    def debit(self, slug, operation="image_prompt_extraction", *, key, units=1, **fields) -> Answer:
        account_id = self.ids.get(slug, 999_999)
        message = Debit(account_id, operation, key, units=units, **fields)
        return self.debit_all([message])[0]

    def debit_all(self, messages) -> list[Answer]:
        with transaction() as ctx:
            answers = post.apply(ctx.at(self.now), messages)
            credits_back.follow(ctx.at(self.now), answers)
        return answers

    def grant(self, slug, amount, source="goodwill", *, key, **fields) -> grants.Granted:
        message = Grant(self.ids.get(slug, 999_999), amount, source, key, **fields)
        with transaction() as ctx:
            return grants.apply(ctx.at(self.now).by("main_app"), message)

    def seed(self, slug) -> signup_grant.SignupGrant:
        with transaction() as ctx:
            return signup_grant.give(ctx.at(self.now), self.ids.get(slug, 999_999))

    def change_status(self, slug, to, *, reason) -> None:
        with transaction() as ctx:
            account_id, operator = self.ids[slug], ctx.at(self.now).by("operator:test")
            if to == "suspended":
                status.suspend(operator, account_id, reason=reason)
            elif status.suspension_reasons(ctx.session, account_id):
                status.lift(operator, account_id, reason=reason, to=to)
            else:
                status.change(operator, account_id, to=to, reason=reason)

    def change_plan(self, slug, plan) -> None:
        """Let the main app write another plan."""
        self.set_host(slug, plan_id=self.plan(plan))

    def sweep(self, *sweeps) -> list[SweepResult]:
        """Run these sweeps, else renewals, changes of plan and expiry, until nothing is due."""
        swept = []
        for sweep in sweeps or (renewals.sweep_due, plan_changes.sweep, expiry.sweep):
            while True:
                with transaction() as ctx:
                    done = sweep(ctx.at(self.now))
                swept += done
                if not done:
                    break
        return swept

    def repair(self) -> list[SweepResult]:
        with transaction() as ctx:
            return repairs.sweep(ctx.at(self.now)).results

    def cycle(self, slug) -> CreditCalendar | None:
        with transaction() as ctx:
            return ctx.session.get(CreditCalendar, self.ids[slug])

    def pass_time(self, **duration) -> None:
        self.now += dt.timedelta(**duration)

    def go_to(self, *moment) -> None:
        """`go_to(2028, 2, 29)`: noon of that day, unless the hour is said."""
        self.now = dt.datetime(*moment, *[12][len(moment) - 3 :], tzinfo=dt.UTC)

    def delete_account(self, slug) -> None:
        with transaction() as ctx:
            ctx.session.execute(update(Account).where(Account.slug == slug).values(is_deleted=True))

    def set_host(self, slug, **fields) -> None:
        """Let the main app write its own row."""
        with transaction() as ctx:
            ctx.session.execute(update(Account).where(Account.slug == slug).values(**fields))

    def app_writes_entry(self, slug, amount, *, balance_after=0) -> None:
        """Let the main app write a ledger row of its own."""
        with transaction() as ctx:
            ctx.session.execute(
                insert(CreditTransaction).values(
                    account_id=self.ids[slug],
                    type="deduction",
                    amount=amount,
                    balance_after=balance_after,
                    description="by the app",
                )
            )

    def see(self, slug) -> overview.Overview:
        with transaction() as ctx:
            return overview.of(ctx.at(self.now), slug, last=10_000)

    def history(self, slug) -> "History":
        return History(as_text(self.see(slug).entries))

    def lots(self, slug) -> dict[str, int]:
        """What remains, by source, in the order it burns."""
        return {lot.source: lot.remaining for lot in self.see(slug).lots}

    def audit(self) -> audit.Report:
        return whole_audit.run(now=self.now, is_full=True)


class History(str):
    """A ledger as text; equal to another whatever its indentation and the width of its blanks."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and _lines(self) == _lines(other)


def _lines(text: str) -> list[list[str]]:
    return [line.replace(",", "").split() for line in textwrap.dedent(text).strip().splitlines()]
