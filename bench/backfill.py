"""Stripe's list of events read, stored and applied: what webhooks missed, such as after an outage."""

import json
import os
from collections.abc import Iterator
from typing import Any

from bench import ground, measure
from bench import stripe as stripe_bench
from bench.measure import Result, Row
from bench.stack import server_pids
from bench.stripe_lives import LIFE, lives
from flows.stripe import backfill
from worker.settings import settings

#: The part of the count: an event costs twenty times as much as a debit.
PART = 0.1


class Listed:
    """A gateway that lists events from memory, so that no network is measured."""

    def __init__(self, bodies: list[str]) -> None:
        self._payloads = [json.loads(body) for body in bodies]

    def events(self, *, since: object, until: object) -> Iterator[dict[str, Any]]:
        """List all of them in the first slice."""
        payloads, self._payloads = self._payloads, []
        return iter(payloads)


def run(*, count: int, rounds: int) -> Result:
    """Backfill the events of paid months. Raises LedgerDisagrees."""
    os.environ["BILLING_STRIPE_WEBHOOK_SECRETS"] = stripe_bench.SECRET
    settings.cache_clear()
    stripe_bench.open_accounts()
    measured: list[Row] = []
    for number in range(rounds):
        months = max(int(count * PART) // len(LIFE), 2)
        stripe: Any = Listed(list(lives(f"backfill{number}", months)))

        def fill(stripe: Any = stripe, expected: int = months * len(LIFE)) -> None:
            assert len(backfill.fill(stripe).outcomes) == expected

        row = measure.timed("stripe_backfill", months * len(LIFE), fill, roots=server_pids())
        measured.append(row)
    ground.check_ledger()
    return Result([measure.median(measured)])
