"""A walk: stories that share a database, a clock and all sweeps, each steered to a seam not reached yet."""

import itertools
from dataclasses import dataclass, field

from billing.renewal import repairs
from models.credits import PlanPolicy
from tests.lives.world import START, World
from tests.machine import checks, seams
from tests.machine.seams import BY_NAME, SEAMS
from tests.machine.story import Story
from worker.database import transaction

#: Plans that roll over, may owe, and write off: (debt, rollover, debt of a clawback).
POLICIES = {"starter": (0, 300, None), "growth": (100, 0, 0)}
#: Days between two looks at what was reached, and between two audits.
LOOKS, AUDITS = 10, 15


@dataclass
class Walk(World):
    """`found`: the accounts of each seam that was reached."""

    kind = Story
    days: int = 52
    last_days: int = 4
    found: dict = field(default_factory=dict)
    _turns: itertools.cycle = field(default_factory=lambda: itertools.cycle(SEAMS))

    def __post_init__(self):
        super().__post_init__()
        with transaction() as ctx:
            for plan, (debt, rollover, owed) in POLICIES.items():
                row = PlanPolicy(
                    plan_id=self.books.plan(plan),
                    debt_limit=debt,
                    rollover_cap=rollover,
                    take_back_debt_limit=owed,
                )
                ctx.session.add(row)

    def next_seam(self, story):
        """The next seam that no story has reached; else the next one."""
        turns = list(itertools.islice(self._turns, len(SEAMS)))
        missing = [seam for seam in turns if not self.found.get(seam.name)]
        chosen = (missing or turns)[0]
        # The next story goes on behind it.
        while next(self._turns).name != chosen.name:
            pass
        return chosen.name

    def path(self, name):
        return BY_NAME[name].path

    def _plan_acts(self, life):
        self.plan(life, life.chance.randrange(3600), life.act)

    def sweep(self):
        super().sweep()
        with transaction() as ctx:
            repairs.sweep(ctx.at(self.books.now))
        day = (self.books.now - START).days
        if day % LOOKS == 0:
            self.found = seams.reached(list(self.by_id))
        if day % AUDITS == 0:
            self.audit()

    def check(self, lives):
        """What holds for every life, and what holds for every step."""
        super().check([life for life in lives if not life.is_deleted])
        ids = [self.books.ids[life.slug] for life in lives if life in self.lives]
        for account_id, wrong in checks.wrong(self.books.now, ids):
            self.fail(self.by_id[account_id], wrong)

    def count(self, life):
        """Nothing: what was reached is read from the database."""

    def live(self):
        super().live()
        self.found = seams.reached(list(self.by_id))
        return self
