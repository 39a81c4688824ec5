"""Customers who pay by bank transfer, for tests that go day by day: announce, receive, match."""

import dataclasses
from dataclasses import dataclass, field

import sqlalchemy as sa

from billing.bank import cash, decide, line_ends, returns, unapplied
from billing.bank.errors import PartsRefused
from billing.bank.invoicing import issue, obsolete, remind, renew
from billing.bank.matching.types import MatchingPolicy
from billing.bank.review import decisions, queue, reviewers
from billing.bank.review.decisions import Review
from billing.context import Policy
from billing.errors import Rejected
from billing.purchases import purchases
from billing.renewal import expiry, renewals
from billing_client.bank import AnnounceTransfer
from models.host import Account, Invoice, Payment, Plan, Subscription, User
from models.operations import OutboxEvent
from models.transfers import Decision, Transfer, TransferInvoice
from tests.billing.bank.story import Bank, statement
from tests.story import Ledger
from worker.database import transaction

CURRENCY = "EUR"
LIMIT = 100_000


@dataclass
class Customers(Ledger):
    """A ledger, a bank, and users of the main app; prices are in euro."""

    bank: Bank = field(default_factory=Bank)
    policy: Policy = field(default_factory=Policy)
    _closing: int = 0
    _number: int = 0

    def sell(self, slug, price, *, included_credits=1000):
        plan_id = self.plan(slug, included_credits=included_credits)
        with transaction() as ctx:
            ctx.session.execute(sa.update(Plan).where(Plan.id == plan_id).values(price=price))
        return plan_id

    def hire(self, email, *, role="developer", account=None, superuser=False, owns=None):
        with transaction() as ctx:
            user_id = ctx.session.execute(
                sa.insert(User)
                .values(
                    email=email,
                    role=role,
                    account_id=self.ids.get(account),
                    is_superuser=superuser,
                )
                .returning(User.id)
            ).scalar_one()
            if owns:
                ctx.session.execute(
                    sa.update(Account).where(Account.slug == owns).values(owner_id=user_id)
                )
        return user_id

    def announce(self, slug, plan="starter", *, months=1, key=None):
        message = AnnounceTransfer(
            self.ids.get(slug, 999_999), self.plan(plan), key or f"announce:{slug}", months
        )
        with transaction() as ctx:
            return issue.announce(ctx.at(self.now), message, currency=CURRENCY)

    def receive(self, *lines, **more):
        """Import the next day's statement, and match what it brought."""
        self._number += 1
        file = statement(
            *lines,
            number=self._number,
            opening=self._closing,
            day=self.now.date(),
            **more,
        )
        self._closing += sum(one["minor"] for one in lines)
        self.bank.now = self.now
        self.bank.receive(file)
        return self.match()

    def match(self, policy=None):
        while True:
            with transaction() as ctx:
                if not line_ends.split_lines(ctx.at(self.now)):
                    break
        with transaction() as ctx:
            returned = decide.decide(ctx.session, policy=MatchingPolicy()).returns
        for transfer in returned:
            with transaction() as ctx:
                returns.settle(ctx.at(self.now), transfer)
        with transaction() as ctx:
            batch = decide.decide(ctx.session, policy=policy or MatchingPolicy())
        for decision, version in batch.decisions:
            self._carry_out(decision, version)
        if batch.decisions:
            with transaction() as ctx:
                decide.mark(ctx.at(self.now), batch.invoices)
        return [decision.rule for decision, _ in batch.decisions]

    def _carry_out(self, decision, version):
        try:
            with transaction() as ctx:
                decide.carry_out(ctx.at(self.now), decision, version)
        except PartsRefused:
            return
        except Rejected as error:
            with transaction() as ctx:
                decide.leave_to_reviewer(ctx.at(self.now), decision, version, error)

    def review(self, ctx, who, transfer_id, *, version=None, limit=LIMIT):
        reviewer = reviewers.reviewer(ctx.session, str(who))
        seen = version or ctx.session.get_one(Transfer, transfer_id).version
        ctx.session.expire_all()
        return Review(ctx.at(self.now), reviewer, transfer_id, seen, limit)

    def act(self, name, who, transfer_id, *arguments, version=None, limit=LIMIT, **named):
        """Let a reviewer decide: `act("confirm", "dev@x", 1, [(1, 8900)])`."""
        with transaction() as ctx:
            review = self.review(ctx, who, transfer_id, version=version, limit=limit)
            return getattr(decisions, name)(review, *arguments, **named)

    def bill(self):
        """Send the invoices that are due, and take the steps of unpaid ones."""
        with transaction() as ctx:
            aside = obsolete.set_aside(ctx.at(self.now))
        with transaction() as ctx:
            renewed = renew.renew(ctx.at(self.now), currency=CURRENCY)
        with transaction() as ctx:
            at = dataclasses.replace(ctx.at(self.now), policy=self.policy)
            stepped = remind.remind(at)
        return [one.what for one in (*aside, *renewed, *stepped)]

    def use_credit(self, who, invoice_id):
        with transaction() as ctx:
            reviewer = reviewers.reviewer(ctx.session, str(who))
            return unapplied.use(ctx.at(self.now), reviewer, invoice_id)

    def credit(self, slug):
        with transaction() as ctx:
            return cash.balance(ctx.session, self.ids[slug], CURRENCY)

    def status(self, slug):
        return self.see(slug).status

    def invoices(self, slug):
        """Each of the account's invoices: state, settled of due."""
        with transaction() as ctx:
            rows = sa.select(TransferInvoice).where(TransferInvoice.account_id == self.ids[slug])
            return [
                (row.state, row.settled_minor, row.due_minor)
                for row in ctx.session.scalars(rows.order_by(TransferInvoice.id))
            ]

    def transfers(self):
        """Each transfer: state and amount, in the order in which they came."""
        with transaction() as ctx:
            rows = ctx.session.scalars(sa.select(Transfer).order_by(Transfer.id))
            return [(row.state, row.amount_minor) for row in rows]

    def decisions(self):
        with transaction() as ctx:
            rows = ctx.session.scalars(sa.select(Decision).order_by(Decision.id))
            return [(row.transfer_id, row.rule, row.outcome, row.actor) for row in rows]

    def queue(self):
        with transaction() as ctx:
            return queue.waiting(ctx.session)

    def events(self, *kinds):
        with transaction() as ctx:
            rows = ctx.session.scalars(sa.select(OutboxEvent).order_by(OutboxEvent.id))
            return [row.type for row in rows if not kinds or row.type.startswith(kinds)]

    def event_data(self, kind):
        """What the events of this type carry."""
        with transaction() as ctx:
            rows = ctx.session.scalars(sa.select(OutboxEvent).order_by(OutboxEvent.id))
            return [row.payload for row in rows if row.type == kind]

    def host(self):
        """What the main app sees: invoices, payments and subscriptions."""
        with transaction() as ctx:
            return (
                [
                    (row.number, row.status, row.paid_minor, row.due_minor)
                    for row in ctx.session.scalars(sa.select(Invoice).order_by(Invoice.id))
                ],
                [
                    (row.status, row.amount_minor)
                    for row in ctx.session.scalars(sa.select(Payment).order_by(Payment.id))
                ],
                [
                    (row.status, row.payment_method, row.current_period_end.date())
                    for row in ctx.session.scalars(
                        sa.select(Subscription).order_by(Subscription.id)
                    )
                ],
            )

    def check(self):
        """The invariants hold: the ledger agrees, and no money was made or lost."""
        self.sweep(purchases.sweep_due, renewals.sweep_due, expiry.sweep)
        report = self.audit()
        assert report.agrees, {name: found for name, found in report.findings.items() if found}
