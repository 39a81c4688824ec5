"""An account's life in plain Python: what the worker must make of sign-ups, money and sweeps.

It knows lists and times, and neither rows nor locks.
"""

import datetime as dt
from dataclasses import dataclass, field

DAY = dt.timedelta(days=1)
TRIAL, GRACE = 14 * DAY, 3 * DAY
TRANSFER_DUE_AFTER = 14 * DAY
CARD = {
    0: ["remind"],
    3: ["retry", "remind"],
    7: ["retry", "remind"],
    12: ["remind"],
    14: ["suspend"],
    21: ["retry", "remind"],
    30: ["cancel"],
}
BANK = {-7: ["remind"], 0: ["remind"], 7: ["remind"], 14: ["suspend"], 30: ["cancel"]}


@dataclass
class Case:
    days: dict
    starts_at: dt.datetime
    opened_at: dt.datetime
    hopeless: bool = False
    done: int = -8


@dataclass
class Account:
    created_at: dt.datetime
    status: str = "trial"
    reasons: list = field(default_factory=list)  # [reason, status before]
    trial_open: bool = False
    outcome: str | None = None
    ends_at: dt.datetime | None = None
    suspends_at: dt.datetime | None = None
    reminded: set = field(default_factory=set)  # (end, days), sent or overtaken
    reminders: list = field(default_factory=list)  # (end, days) sent
    paid_at: list = field(default_factory=list)
    case: Case | None = None
    has_missed: bool = False  # a payment, ever
    asked: list = field(default_factory=list)  # (day, what)

    def has(self, reason):
        return any(each == reason for each, _ in self.reasons)

    def end_trial(self, outcome):
        if self.trial_open:
            self.trial_open, self.outcome = False, outcome

    def suspend(self, reason):
        if not self.has(reason):
            before = self.reasons[0][1] if self.status == "suspended" else self.status
            self.reasons.append((reason, before))
        self.status = "suspended"
        if reason == "trial_over":
            self.end_trial("expired")

    def lift(self, reason, to=None):
        lifted = [before for each, before in self.reasons if each == reason]
        self.reasons = [each for each in self.reasons if each[0] != reason]
        if lifted and not self.reasons and self.status == "suspended":
            self.reach(to or lifted[0])

    def reach(self, status):
        self.status = status
        if status in ("active", "cancelled"):
            self.end_trial({"active": "paid", "cancelled": "cancelled"}[status])

    # --- what happens ---

    def pay(self, now):
        self.paid_at.append(now)
        for reason in ("trial_over", "payment_failed"):
            self.lift(reason, "active")
        self.case = None
        if self.reasons:
            self.reasons = [(reason, "active") for reason, _ in self.reasons]
            self.end_trial("paid")
        elif self.status not in ("active", "suspended"):
            self.reach("active")

    def may_announce(self):
        is_kept_out = self.has("dispute") or self.has("manual")
        return self.status in ("trial", "cancelled") and not is_kept_out

    def announce(self, now):
        self.reasons = []
        self.status = "pending_payment"
        self.case = self.case or Case(BANK, now + TRANSFER_DUE_AFTER, now)

    def card_fails(self, now, *, hopeless):
        self.has_missed = True
        if self.case is None:
            self.case = Case(CARD, now - 7 * DAY if hopeless else now, now, hopeless)
        elif hopeless and not self.case.hopeless:
            self.case.starts_at = min(self.case.starts_at, now - 7 * DAY)
            self.case.hopeless = True

    def may_be_extended(self, ends_at, now):
        return (
            self.trial_open
            and self.status in ("trial", "suspended")
            and ends_at > max(now, self.ends_at)
            and ends_at - self.created_at <= 730 * DAY
        )

    def extend(self, ends_at, now):
        self.ends_at, self.suspends_at = ends_at, ends_at + GRACE
        # Of what lies before the extension nobody is reminded.
        self.reminded |= {(ends_at, d) for d in (7, 3, 1, 0) if ends_at - d * DAY <= now}

    def may_be_restored(self, ends_at):
        return (
            not self.trial_open
            and self.outcome == "expired"
            and self.status == "suspended"
            and ends_at > self.ends_at
            and ends_at - self.created_at <= 730 * DAY
        )

    def restore(self, ends_at, now):
        self.lift("trial_over", "trial")
        self.trial_open, self.outcome = True, None
        self.extend(ends_at, now)

    def cancel(self):
        if self.status != "cancelled":
            self.reach("cancelled")
            self.case = None

    def app_writes(self, to):
        if to == self.status:
            return
        before, self.status = self.status, to
        if to == "suspended":
            came_from = before if before in ("trial", "active", "pending_payment") else "active"
            if not self.has("manual"):
                self.reasons.append(("manual", came_from))
        elif to == "cancelled":
            self.end_trial("cancelled")
            self.case = None
        else:
            came_from = self.reasons[0][1] if self.reasons and before == "suspended" else before
            self.reasons = []
            if to == "active":
                self.end_trial("paid")
                self.case = None if came_from == "pending_payment" else self.case

    # --- what time does ---

    def begin(self, now):
        if self.status == "trial" and not self.trial_open:
            self.trial_open, self.outcome = True, None
            self.ends_at = self.ends_at or self.created_at + TRIAL
            self.suspends_at = max(self.ends_at, now) + GRACE

    def remind(self, now):
        if not self.trial_open:
            return
        due = [
            (self.ends_at, days)
            for days in (7, 3, 1, 0)
            if self.ends_at - days * DAY <= now
            and (days == 0 or self.ends_at - days * DAY > self.created_at)
        ]
        # What falls due while nobody is to be reminded is never sent.
        if self.status == "trial" and due and due[-1] not in self.reminded:
            self.reminders.append(due[-1])
        self.reminded |= set(due)

    def expire(self, now):
        if not self.trial_open or self.suspends_at > now:
            return
        if self.status not in ("trial", "suspended"):
            self.end_trial("paid" if self.status == "active" else "settled")
        elif any(
            at > (self.case.opened_at if self.case else self.created_at) for at in self.paid_at
        ):
            if self.status == "trial":
                money = ("trial_over", "payment_failed")
                self.reasons = [each for each in self.reasons if each[0] not in money]
                self.reach("active")
            self.end_trial("paid")
        else:
            self.suspend("trial_over")

    def dun(self, now):
        case = self.case
        if case is None:
            return
        days = [day for day in case.days if case.done < day <= (now - case.starts_at) / DAY]
        said = [(day, what) for day in days for what in case.days[day]]
        for what in ("remind", "retry"):
            last = [day for day, each in said if each == what][-1:]
            if not (what == "retry" and case.hopeless):
                self.asked += [(day, what) for day in last]
        case.done = max(days, default=case.done)
        actions = {what for _, what in said}
        if "suspend" in actions:
            self.suspend("payment_failed")
        if "cancel" in actions:
            self.case = None
            if self.status == "suspended" and self.has("payment_failed"):
                self.reach("cancelled")
