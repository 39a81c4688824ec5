"""Acts on credits: exact debits by both doors, holds of all that is free, grants, lots that end."""

import datetime as dt
import json

import sqlalchemy as sa

from billing.usage import holds, inbox
from billing_client import Capture, Debit, PlaceHold, Release, Reverse
from worker.database import transaction

OPERATION = "idea_generation"
#: Credits that a unit of it costs.
COST = 2
DAY_S = 86_400
ENDS_SOON = dt.timedelta(hours=12)

_LEAVE = """
INSERT INTO billing.inbox (account_id, task, arguments)
VALUES (:account_id, :task, CAST(:arguments AS jsonb))
"""


class CreditActs:
    """The app's debits, holds, reversals and grants. `debits` and `held` are keys."""

    @property
    def account_id(self):
        return self.books.ids[self.slug]

    def free_units(self):
        return self.books.see(self.slug).available // COST

    def debit_some(self):
        self.debit(10)

    def debit_half(self):
        self.debit(max(self.free_units() // 2, 1))

    def debit_through_inbox(self):
        key = self.key()
        message = Debit(self.account_id, OPERATION, key, units=7)
        row = {"task": message.TASK, "arguments": json.dumps(message.arguments())}
        with transaction() as ctx:
            ctx.session.execute(sa.text(_LEAVE), {"account_id": self.account_id, **row})
        with transaction() as ctx:
            drained = inbox.drain(ctx.at(self.books.now), limit=100, after=inbox.LOWEST)
        self.debits += [key for answer in drained.answers if answer.outcome == "taken"]
        self.says(f"debit through the inbox: {[answer.outcome for answer in drained.answers]}")

    def debit_again(self):
        """A repeat of a debit that was taken."""
        self.books.debit_all([Debit(self.account_id, OPERATION, self.key(), units=1)] * 2)

    def hold_all(self):
        self.hold_units(self.free_units())

    def hold_some(self):
        self.hold_units(10)

    def hold_units(self, units):
        if units < 1:
            return
        key = self.key()
        message = PlaceHold(self.account_id, OPERATION, key, units=units, ttl_s=DAY_S)
        with transaction() as ctx:
            placed = holds.place(ctx.at(self.books.now), message)
        if placed.outcome == "held":
            self.held.append(key)
        self.says(f"hold of {COST * units}: {placed.outcome} {placed.reason or ''}")

    def capture(self, units=None):
        self.end(Capture(self.account_id, self.held.pop(), units=units))

    def capture_part(self):
        self.capture(5)

    def capture_more(self):
        self.capture(60)

    def release(self):
        self.end(Release(self.account_id, self.held.pop()))

    def end(self, message):
        (answer,) = self.books.debit_all([message])
        if isinstance(message, Capture) and answer.outcome == "taken":
            self.debits.append(message.hold)
        self.says(f"{type(message).__name__} of {message.hold}: {answer.outcome}")

    def reverse_last(self):
        key = self.debits.pop()
        (answer,) = self.books.debit_all([Reverse(self.account_id, key)])
        self.says(f"reversal of {key}: {answer.outcome}")

    def grant_that_ends_soon(self):
        self.books.grant(self.slug, 100, key=self.key(), expires_at=self.books.now + ENDS_SOON)

    def sign_up(self):
        self.books.seed(self.slug)

    def may_debit_half(self):
        return self.free_units()

    may_hold_all = may_debit_half

    def may_capture(self):
        return self.held

    may_capture_part = may_capture_more = may_release = may_capture

    def may_reverse_last(self):
        return self.debits
