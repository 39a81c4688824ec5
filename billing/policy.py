"""What the operator has chosen about trials and closed accounts, as the domain needs it.

A session carries it, as it carries the ledger key: the domain does not read settings.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Literal

from sqlalchemy.orm import Session

#: Where a session carries its policy.
POLICY = "policy"


@dataclass(frozen=True, slots=True)
class Policy:
    """`trial_days` and `grace_days` in days; the defaults are those of the settings.

    `suspended_at_once`: trials that one run may suspend without a person's word.
    `repeated_trials`: of an identity that had one before: `allow` with a warning, or `refuse`.
    """

    trial_days: int = 14
    grace_days: int = 3
    trial_credits_lapse: bool = True
    suspended_at_once: int = 100
    repeated_trials: Literal["allow", "refuse"] = "allow"
    closes_deleted: bool = False

    @property
    def grace(self) -> dt.timedelta:
        """Between the end of a trial and the suspension."""
        return dt.timedelta(days=self.grace_days)


def of(session: Session) -> Policy:
    """The policy that the session carries."""
    policy = session.info.get(POLICY, Policy())
    assert isinstance(policy, Policy), "a session carries no other policy"
    return policy
