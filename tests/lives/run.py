"""Run lives in worlds, and sum up what they reached and what was wrong."""

from collections import Counter
from dataclasses import dataclass, field

from tests.lives.world import ACTIVE_DAYS, World, told

#: Lives that share a database and its sweeps. A life alone is the same life.
IN_A_WORLD = 20


@dataclass
class Result:
    lives: int = 0
    violations: list = field(default_factory=list)
    reached: Counter = field(default_factory=Counter)

    @property
    def pairs(self):
        """The number of pairs of kinds that met in a life."""
        return sum(isinstance(what, tuple) for what in self.reached)


def run(seeds, *, tell, show=5, days=ACTIVE_DAYS):
    """Live the life of each seed."""
    result = Result()
    seeds = list(seeds)
    for first in range(0, len(seeds), IN_A_WORLD):
        some = seeds[first : first + IN_A_WORLD]
        world = World(some, days).live()
        result.lives += len(some)
        result.violations += world.violations
        result.reached += world.reached
        if len(seeds) > IN_A_WORLD:
            tell(f"{result.lives} lives, {len(result.violations)} violations")
        for life, wrong in world.violations:
            if show > 0:
                tell(told(life, wrong))
                show -= 1
            else:
                tell(f"VIOLATION seed {life and life.seed}: {wrong}")
    return result
