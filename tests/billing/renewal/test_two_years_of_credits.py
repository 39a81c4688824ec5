"""Two years of credit cycles: every account ends with exactly the lots that were due.

The books are held against a model in plain Python, which knows only lists and a calendar of days.
"""

import datetime as dt
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import empty_database
from tests.story import Ledger

PLANS = {"free": 100, "starter": 1000, "growth": 2000}
CAPS = {"free": 0, "starter": 150, "growth": 5000}
STARTS = (
    dt.datetime(2027, 1, 31, 12, tzinfo=dt.UTC),
    dt.datetime(2027, 3, 28, 2, 30, tzinfo=dt.UTC),  # the hour that Europe skips
    dt.datetime(2026, 11, 1, 1, 30, tzinfo=dt.UTC),  # the hour that America has twice
    dt.datetime(2028, 2, 29, 23, 59, 59, 999_999, tzinfo=dt.UTC),
    dt.datetime(2027, 12, 30, tzinfo=dt.UTC),
)
TWO_YEARS = dt.timedelta(days=731)
DAY = dt.timedelta(days=1)
pytestmark = pytest.mark.usefixtures("database")


def months_after(anchor, number):
    """Walk month by month, then as far as the anchor's day if the month has it."""
    year, month = anchor.year, anchor.month
    for _ in range(number):
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    day = anchor.day
    while True:
        try:
            return anchor.replace(year=year, month=month, day=day)
        except ValueError:
            day -= 1


@dataclass
class Lot:
    source: str
    left: int
    expires_at: dt.datetime | None


@dataclass
class Model:
    anchor: dt.datetime
    plan: str = "starter"
    wanted: str = "starter"
    waiting: str | None = None
    period: int = 1
    is_active: bool = True
    ended_in: int | None = None
    lots: list[Lot] = field(default_factory=list)
    given: list[int] = field(default_factory=list)

    @property
    def ends_at(self):
        return months_after(self.anchor, self.period)

    def give(self, source, credits):
        if credits:
            self.lots.append(Lot(source, credits, self.ends_at))

    def begin_period(self, number):
        self.period, self.plan, self.waiting = number, self.wanted, None
        self.given.append(number)
        self.give("plan", PLANS[self.plan])

    def renew(self, now):
        while self.is_active and self.ends_at <= now:
            over = [lot for lot in self.lots if lot.expires_at == self.ends_at]
            over = [lot for lot in over if lot.source in ("plan", "rollover")]
            kept = min(CAPS[self.plan], sum(lot.left for lot in over))
            self.lots = [lot for lot in self.lots if lot not in over]
            self.period += 1
            self.give("rollover", kept)
            self.begin_period(self.period)

    def sweep(self, now):
        self.renew(now)
        if self.is_active and self.wanted != (self.waiting or self.plan):
            more = PLANS[self.wanted] - PLANS[self.plan]
            self.waiting = self.wanted if more < 0 else None
            if more >= 0:
                self.plan = self.wanted
                self.give("plan", more)
        self.lots = [lot for lot in self.lots if not lot.expires_at or lot.expires_at > now]

    def debit(self, now, cost):
        self.renew(now)
        order = {"plan": 20, "rollover": 20, "goodwill": 30}
        live = [lot for lot in self.lots if lot.expires_at > now]
        if sum(lot.left for lot in live) >= cost:
            for lot in sorted(live, key=lambda lot: (order[lot.source], lot.expires_at)):
                taken = min(cost, lot.left)
                lot.left -= taken
                cost -= taken

    def suspend(self, now):
        self.renew(now)
        self.is_active = False

    def come_back(self, now):
        self.is_active = True
        running = self.period
        while months_after(self.anchor, running) <= now:
            running += 1
        if running > self.period:
            self.begin_period(running)

    def lots_left(self, now):
        live = [(lot.source, lot.left, lot.expires_at) for lot in self.lots if lot.left]
        return sorted(lot for lot in live if lot[2] > now)


gaps = st.one_of(
    st.timedeltas(dt.timedelta(hours=1), 40 * DAY),
    st.just("to the boundary"),
    st.just("just before the boundary"),
)
acts = st.one_of(
    st.just(("sweep",)),
    st.just(("sweep twice",)),
    st.just(("nothing",)),
    st.tuples(st.just("debit"), st.integers(1, 120_000)),
    st.tuples(st.just("gift"), st.integers(1, 90)),
    st.just(("suspend or come back",)),
    st.tuples(st.just("plan"), st.sampled_from(sorted(PLANS))),
)


def do(ledger, model, act, number):
    match act:
        case ("sweep",):
            model.sweep(ledger.now)
            ledger.sweep()
        case ("sweep twice",):
            model.sweep(ledger.now)
            ledger.sweep()
            assert ledger.sweep() == []
        case ("debit", words):
            model.debit(ledger.now, -(-words // 100))
            ledger.debit("acme", "content_generation", units=words, key=f"debit:{number}")
        case ("gift", days):
            ends_at = ledger.now + days * DAY
            model.lots.append(Lot("goodwill", 30, ends_at))
            ledger.grant("acme", 30, key=f"gift:{number}", expires_at=ends_at)
        case ("suspend or come back",) if model.is_active:
            model.suspend(ledger.now)
            ledger.change_status("acme", "suspended", reason="manual")
        case ("suspend or come back",):
            model.come_back(ledger.now)
            ledger.change_status("acme", "active", reason="manual")
        case ("plan", plan):
            model.wanted = plan
            ledger.change_plan("acme", plan)


def move(ledger, model, gap):
    if isinstance(gap, dt.timedelta):
        ledger.now += gap
        return
    boundary = months_after(model.anchor, model.period)
    if gap == "just before the boundary":
        boundary -= dt.timedelta(microseconds=1)
    ledger.now = max(ledger.now, boundary)


def open_accounts(start):
    empty_database()
    ledger = Ledger(now=start)
    for slug, credits in PLANS.items():
        ledger.plan(slug, included_credits=credits, rollover_cap=CAPS[slug])
    ledger.open_account("acme")
    ledger.seed("acme")
    return ledger


def lots_left(ledger):
    seen = ledger.see("acme").lots
    return sorted(
        (lot.source, lot.remaining, lot.expires_at) for lot in seen if lot.expires_at > ledger.now
    )


@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.sampled_from(STARTS), st.lists(st.tuples(gaps, acts), min_size=15, max_size=60))
def test_whatever_happens_in_two_years_each_account_has_exactly_its_due_lots(start, happenings):
    ledger = open_accounts(start)
    model = Model(start, given=[1], lots=[Lot("plan", 1000, months_after(start, 1))])

    for number, (gap, act) in enumerate(happenings):
        move(ledger, model, gap)
        if ledger.now >= start + TWO_YEARS:
            break
        do(ledger, model, act, number)
        assert lots_left(ledger) == model.lots_left(ledger.now)
    ledger.now = max(ledger.now, start + TWO_YEARS)
    model.sweep(ledger.now)
    ledger.sweep()

    assert lots_left(ledger) == model.lots_left(ledger.now)
    assert ledger.see("acme").credits == sum(left for _, left, _ in model.lots_left(ledger.now))
    assert periods_given(ledger) == model.given
    report = ledger.audit()
    assert report.agrees, report.findings


def periods_given(ledger):
    """The numbers of the periods whose lot came, in order."""
    keys = [e.key.split(":") for e in ledger.see("acme").entries]
    return [1 if key[1] == "seed" else int(key[3]) for key in keys if key[1] in ("seed", "renewal")]


@pytest.mark.parametrize("start", STARTS, ids=lambda start: start.isoformat())
def test_one_late_sweep_writes_what_a_sweep_each_day_would_have_written(start):
    def after(step):
        ledger = open_accounts(start)
        while ledger.now < start + TWO_YEARS:
            ledger.now = min(ledger.now + step, start + TWO_YEARS)
            ledger.sweep()
        assert periods_given(ledger) == list(range(1, len(periods_given(ledger)) + 1))
        return ledger.history("acme"), [e.happened_at for e in ledger.see("acme").entries]

    often, once = after(7 * DAY), after(TWO_YEARS)

    assert once == often
    assert once[1][-1] <= start + TWO_YEARS
