"""`billing status`: the operator's first screen."""

import datetime as dt
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import click
import redis
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from billing.events import deliveries
from billing.lifecycle.trials import sweeps as trial_sweeps
from billing.operations import dead_letters
from billing.renewal import due
from billing.stripe import inbox_upkeep as stripe_inbox
from billing.usage import inbox
from billing_client.client import SENT_AT
from cli.screen import console, json_option, show_json, table
from cli.server_words import first_line
from models.credits import Hold
from models.operations import Finding
from worker import clock
from worker import dead_letters as letters
from worker.app import app
from worker.database import transaction
from worker.transport import queues as redis_queues

#: Seconds to wait for workers to answer; one that is up answers in a tenth of that.
PING_S = 1.0
#: What has waited longer than this wants a person: debits take milliseconds, the inbox a second.
LATE_S = 60.0


@dataclass(slots=True)
class QueueState:
    """Messages that wait, for how long the oldest has (None if it does not tell), and who reads."""

    name: str
    purpose: str
    waiting: int
    oldest_s: float | None
    readers: int = 0


@dataclass(slots=True)
class Status:
    """What one look at everything saw. None: it could not be asked."""

    postgres: str
    redis: str
    workers: list[str] = field(default_factory=list)
    queues: list[QueueState] = field(default_factory=list)
    in_hand: int | None = None
    dead_letters: int | None = None
    dead_letters_in_redis: int | None = None
    inbox_waiting: int | None = None
    inbox_oldest_s: float | None = None
    renewals_due: int | None = None
    lots_due: int | None = None
    holds_overdue: int | None = None
    outbox_waiting: int | None = None
    outbox_oldest_s: float | None = None
    outbox_dead: int | None = None
    trials_to_confirm: int | None = None
    stripe_failed: int | None = None
    stripe_parked: int | None = None
    audit_findings: int | None = None

    @property
    def down(self) -> list[str]:
        """What does not run, in words."""
        unread = [q.name for q in self.queues if self.workers and not q.readers]
        asked = (
            (self.postgres != "up", f"postgres: {self.postgres}"),
            (self.redis != "up", f"redis: {self.redis}"),
            (self.redis == "up" and not self.workers, "no worker answers"),
            *[(True, f"no worker reads the queue {name}") for name in unread],
        )
        return [words for is_so, words in asked if is_so]

    @property
    def problems(self) -> list[str]:
        """What needs a person, in words: what is down, what is late, what could not be done."""
        ages = [(f"message in {q.name}", q.oldest_s) for q in self.queues]
        ages.append(("row in the inbox", self.inbox_oldest_s))
        late = [f"the oldest {what} waits {age:.0f} s" for what, age in ages if (age or 0) > LATE_S]
        asked = (
            (self.dead_letters, "dead letters: billing dead-letters list"),
            (self.outbox_dead, "dead events: billing outbox list"),
            (self.trials_to_confirm, "trials wait to be suspended: billing trials list --due"),
            (self.stripe_failed, "events of Stripe failed: billing stripe events"),
            (self.stripe_parked, "events of Stripe wait for something: billing stripe events"),
            (self.audit_findings, "findings: billing audit, billing stripe drift"),
        )
        return [*self.down, *late, *[f"{count} {words}" for count, words in asked if count]]


@click.command()
@json_option
def status(as_json: bool) -> None:
    """Show servers, workers, queues, dead letters and due work; exit 1 if something is down.

    Down is a server that does not answer, and a queue that no worker reads.
    """
    seen = look()
    if as_json:
        show_json({**{f: getattr(seen, f) for f in Status.__slots__}, "problems": seen.problems})
    else:
        _show(seen)
    if seen.down:
        raise SystemExit(1)


def look() -> Status:
    """Ask everything once."""
    seen = Status(postgres="up", redis="up")
    try:
        _ask_redis(seen)
    except redis.RedisError as error:
        seen.redis = first_line(error)
    try:
        _ask_postgres(seen)
    except DBAPIError as error:
        seen.postgres = first_line(error.orig)
    return seen


def _ask_redis(seen: Status) -> None:
    import celeryconfig  # reads the settings, which `--help` has no need of

    client = redis_queues.connection()
    client.ping()
    seen.in_hand = redis_queues.in_hand(client)
    seen.dead_letters_in_redis = letters.waiting()
    with app.connection_for_read() as connection:  # one from a pool may have died since
        inspect = app.control.inspect(timeout=PING_S, connection=connection)
        read: dict[str, list[Any]] = inspect.active_queues() or {}
    seen.workers = sorted(read)
    readers = Counter(queue["name"] for queues in read.values() for queue in queues)
    for name, purpose in celeryconfig.QUEUES.items():
        oldest = _age(redis_queues.oldest(client, name))
        waiting = redis_queues.depth(client, name)
        seen.queues.append(QueueState(name, purpose, waiting, oldest, readers[name]))


def _ask_postgres(seen: Status) -> None:
    now = clock.now()
    with transaction() as ctx:
        seen.dead_letters = dead_letters.count_open(ctx.session)
        seen.inbox_waiting, oldest = inbox.waiting(ctx.session)
        seen.inbox_oldest_s = round((now - oldest).total_seconds(), 1) if oldest else None
        seen.renewals_due, seen.lots_due = due.count(ctx.at(now))
        seen.holds_overdue = ctx.session.execute(
            select(func.count())
            .select_from(Hold)
            .where(Hold.state == "held", Hold.expires_at <= now)
        ).scalar_one()
        seen.outbox_waiting, left_at, seen.outbox_dead = deliveries.count(ctx.session)
        seen.outbox_oldest_s = round((now - left_at).total_seconds(), 1) if left_at else None
        seen.trials_to_confirm = trial_sweeps.to_confirm(ctx.at(now))
        stripe = stripe_inbox.counts(ctx.session)
        seen.stripe_failed, seen.stripe_parked = stripe.get("failed", 0), stripe.get("parked", 0)
        seen.audit_findings = ctx.session.execute(
            select(func.count()).select_from(Finding).where(Finding.closed_at.is_(None))
        ).scalar_one()


def _age(raw: str | bytes | None) -> float | None:
    if raw is None:
        return None
    try:
        sent_at = dt.datetime.fromisoformat(json.loads(raw)["headers"][SENT_AT])
        return round((clock.now() - sent_at).total_seconds(), 1)
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


def _show(seen: Status) -> None:
    table(
        "servers and workers",
        ("what", "state"),
        [
            ("postgres", seen.postgres),
            ("redis", seen.redis),
            *[("worker", name) for name in seen.workers],
        ],
    )
    table(
        "queues",
        ("queue", "for", "read by", "waiting", "oldest (s)"),
        [(q.name, q.purpose, q.readers, q.waiting, q.oldest_s) for q in seen.queues],
    )
    table(
        "work",
        ("what", "count"),
        [
            ("messages that workers hold", seen.in_hand),
            ("open dead letters", seen.dead_letters),
            ("dead letters still in Redis", seen.dead_letters_in_redis),
            ("rows that wait in the inbox", seen.inbox_waiting),
            ("the oldest of them waits (s)", seen.inbox_oldest_s),
            ("periods to renew", seen.renewals_due),
            ("lots out of time", seen.lots_due),
            ("holds out of time", seen.holds_overdue),
            ("events that wait in the outbox", seen.outbox_waiting),
            ("the oldest of them waits (s)", seen.outbox_oldest_s),
            ("dead events", seen.outbox_dead),
            ("trials that wait for a person's word", seen.trials_to_confirm),
            ("events of Stripe that failed", seen.stripe_failed),
            ("events of Stripe that wait for something", seen.stripe_parked),
            ("open findings of the audit", seen.audit_findings),
        ],
    )
    for words in seen.problems:
        console.print(words, style="red")
    if not seen.problems:
        console.print("nothing needs a person", style="green")
