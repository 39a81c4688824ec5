"""One story: an account whose acts follow the path to a seam, with drawn acts in between."""

from dataclasses import dataclass, field

from tests.lives.life import Life
from tests.machine.account_acts import AccountActs
from tests.machine.credit_acts import DAY_S, CreditActs

#: Acts that are drawn between the steps of a path, with their weights. What would end a story early,
#: such as a deletion or a suspension by hand, is only on paths. Changes of plan at Stripe, which move
#: its customer's balance, are drawn in `tests.lives`.
DRAWN = {
    "debit_some": 4,
    "debit_through_inbox": 3,
    "debit_again": 2,
    "hold_some": 3,
    "capture": 2,
    "capture_part": 2,
    "capture_more": 1,
    "release": 2,
    "reverse_last": 2,
    "goodwill": 1,
    "grant_that_ends_soon": 1,
    "sign_up": 1,
    "app_raises_plan": 1,
    "app_lowers_plan": 1,
    "card_breaks": 1,
    "card_is_replaced": 2,
    "pay_late": 2,
    "buy_pack": 1,
    "refund_part": 1,
    "review": 3,
    "subscribe_monthly": 1,
    "dispute": 1,
    "dispute_won": 2,
    "dispute_lost": 1,
    "announce_starter": 1,
    "transfer": 1,
    "transfer_short": 1,
    "transfer_returned": 1,
}
#: How often a drawn act comes before the next step: never on the first path, so that it arrives.
DRAWS = (0.1, 0.2, 0.4)
#: Seconds between two acts.
PAUSES = (60, 600, 1800)
#: Turns in which a step may be impossible before its path is given up.
PATIENCE = 3
MOST_ACTS = 22


@dataclass
class Story(CreditActs, AccountActs, Life):
    """A life that is steered."""

    seam: str = ""
    steps: list = field(default_factory=list)
    draws: float = 0
    waited: int = 0
    acts: int = 0

    def __post_init__(self):
        super().__post_init__()
        self.card.succeeds = lambda: self.pays
        self.kinds = DRAWN
        self.card.ends_unpaid = "unpaid"
        self.spends = False
        self.delivers_late = 0
        self.seam = self.world.next_seam(self)
        self.steps = list(self.world.path(self.seam))

    def act(self):
        """One act, and the time of the next one."""
        self.acts += 1
        super().act()
        if self.acts < MOST_ACTS and not self.is_deleted:
            self.world.plan(self, self.pause(), self.act)

    def choose(self):
        """The next step of the path if it is possible; else, and now and then, a drawn act."""
        if not self.steps:
            self.begin_next_path()
        if self.steps and self.chance.random() >= self.draws:
            if self.is_possible(self.steps[0]):
                self.waited = 0
                return self.steps.pop(0)
            self.waited += 1
            if self.waited > PATIENCE:
                self.waited, self.steps = 0, []
        return super().choose()

    def begin_next_path(self):
        self.seam = self.world.next_seam(self)
        self.steps = list(self.world.path(self.seam))
        self.draws = self.chance.choice(DRAWS)
        self.says(f"towards {self.seam}")

    def pause(self):
        """Seconds until the next act; a path says where it waits for long."""
        step = self.steps[0] if self.steps else None
        if isinstance(step, int | float):
            return int(self.steps.pop(0) * DAY_S)
        if step in ("before_renewal", "before_trial_is_over", "until_billed"):
            return getattr(self, self.steps.pop(0))()
        return self.chance.choice(PAUSES)
