"""The acts that are possible at a moment of a life."""


def is_whole(payment):
    """Whether it is an invoice of which the balance has nothing yet: a note would give it twice."""
    pieces = payment.pieces
    return payment.id.startswith("in_") and not any(x.parked or x.moves for x in pieces)


class Possible:
    """A check for each kind of act that is not always possible."""

    def is_possible(self, kind):
        check = getattr(self, f"may_{kind}", None)
        return check is None or bool(check())

    def running(self, *statuses):
        wanted = statuses or ("active", "trialing", "past_due")
        return [sub for sub in self.card.subscriptions if sub.status in wanted]

    def may_subscribe(self):
        return all(sub.is_over for sub in self.card.subscriptions)

    def may_second_subscription(self):
        return len(self.running()) == 1

    def may_up(self):
        return self.running("active", "trialing")

    may_down = may_interval = may_quantity = may_up
    may_cancel_now = may_cancel_with_proration = may_cancel_at_end = running

    def may_pause(self):
        return self.running("active")

    def may_keep_after_all(self):
        return [sub for sub in self.running() if sub.cancels_at_end or sub.voids]

    def may_pay_late(self):
        return self.card.unpaid

    def refundable(self):
        return [
            (charge, payment, left)
            for charge, payment in self.card.charges
            if (left := charge["amount"] - charge["amount_refunded"] - charge.get("lost", 0)
                - self.noted(payment) - self.in_dispute(charge)) > 0
        ]  # fmt: skip

    def noted(self, payment):
        return getattr(payment, "noted", 0)

    def in_dispute(self, charge):
        return sum(one["amount"] for one, of, _ in self.card.disputes if of is charge)

    may_refund = may_dispute = refundable

    def may_credit_note(self):
        return [entry for entry in self.refundable() if is_whole(entry[1])]

    def may_refund_fails(self):
        return self.card.refunds

    def may_dispute_won(self):
        return self.card.disputes

    may_dispute_lost = may_dispute_won

    def may_announce(self):
        return self.bank.open_invoice() is None

    def may_transfer(self):
        return self.bank.open_invoice() is not None and self.bank.missing is None

    may_transfer_short = may_transfer_over = may_transfer_twice = may_transfer
    may_transfer_unnamed = may_transfer

    def may_transfer_held(self):
        return self.bank.pages and self.may_transfer()

    def may_review(self):
        return self.bank.pages

    def may_missing_page(self):
        return self.bank.missing

    def may_transfer_returned(self):
        return self.bank.paid and self.bank.missing is None

    def may_end_hold(self):
        return self.held

    def may_reverse(self):
        return self.debits
