"""Acts on the account: the app's and a reviewer's writes, a card that breaks, and named payments."""

from contextlib import suppress

from billing.errors import Rejected
from billing.lifecycle import reviewers
from tests.machine.credit_acts import DAY_S
from worker.database import transaction


class AccountActs:
    """Writes of the app and of reviewers, and payments whose kind is chosen, not drawn."""

    #: Whether the card pays; and whether the account was deleted.
    pays = True
    is_deleted = False

    # --- card ---

    def subscribe_monthly(self):
        self.card.subscribe("starter", annual=False, quantity=1, off=0)

    def subscribe_yearly(self):
        self.card.subscribe("starter", annual=True, quantity=1, off=0)

    def buy_pack(self):
        self.card.top_up(1, how=self.chance.choice(["intent", "invoice"]))

    def refund_first(self):
        charge, payment, cents = self.refundable()[0]
        self.card.refund(charge, payment, cents)

    def refund_last(self):
        charge, payment, cents = self.refundable()[-1]
        self.card.refund(charge, payment, cents)

    def refund_part(self):
        charge, payment, cents = self.refundable()[-1]
        self.card.refund(charge, payment, max(cents // 2, 1))

    def dispute_last(self):
        self.card.dispute(*self.refundable()[-1])

    def card_breaks(self):
        self.pays = False

    def card_is_replaced(self):
        self.pays = True

    # --- bank ---

    def announce_starter(self):
        with suppress(Rejected):
            self.bank.announce("starter", 1, key=self.key())

    def pay_without_reference(self):
        self.transfer(reference=None, text="danke")

    # --- the app and reviewers ---

    def app_activates(self):
        """The app's own activation begins a credit cycle of its own."""
        self.books.set_host(self.slug, status="active")
        self.world.sweep()
        self.books.repair()

    def app_raises_plan(self):
        self.books.change_plan(self.slug, "growth")

    def app_lowers_plan(self):
        self.books.change_plan(self.slug, "free")

    def reviewer_suspends(self):
        self.is_by_hand = True
        self.by_reviewer(reviewers.suspend)

    def reviewer_reactivates(self):
        self.by_reviewer(reviewers.reactivate)

    def by_reviewer(self, act):
        try:
            with transaction() as ctx:
                act(ctx.at(self.books.now).by("operator:test"), self.account_id)
        except Rejected as error:
            self.says(f"refused: {type(error).__name__}")

    def delete(self):
        self.is_deleted = True
        self.books.delete_account(self.slug)

    # --- when they are possible ---

    def may_refund_first(self):
        return self.refundable()

    may_refund_last = may_refund_part = may_dispute_last = may_refund_first

    def may_subscribe_monthly(self):
        return self.may_subscribe()

    may_subscribe_yearly = may_subscribe_monthly

    def may_announce_starter(self):
        return self.may_announce()

    def may_pay_without_reference(self):
        return self.may_transfer()

    # --- times to wait for: seconds from now ---

    def before_renewal(self):
        """A quarter of a day before the running period at Stripe ends."""
        ends = [sub.end for sub in self.card.subscriptions if not sub.is_over]
        return max(min(ends, default=0) - self.world.second - DAY_S // 4, 60)

    def before_trial_is_over(self):
        with transaction() as ctx:
            rows = ctx.session.connection().exec_driver_sql(
                "SELECT suspends_at FROM billing.trials WHERE account_id = %s AND ended_at IS NULL",
                (self.account_id,),
            )
            over_at = rows.scalar()
        left = (over_at - self.books.now).total_seconds() if over_at else 0
        return max(int(left) - DAY_S // 4, 60)

    def until_billed(self):
        """Days until the next invoice for a transfer: it is issued before the period ends."""
        return 18 * DAY_S
