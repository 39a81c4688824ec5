"""`billing status`: the operator's overview of servers, workers, queues and due work."""

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
from cli.server_errors import first_line
from models.credits import Hold
from models.operations import Finding
from worker import clock
from worker import dead_letters as worker_dead_letters
from worker.app import app
from worker.database import transaction
from worker.transport import queues as redis_queues

#: Seconds to wait for the workers' answers; a running one answers in a tenth of that.
PING_S = 1.0
#: An older message is a problem: debits take milliseconds, the inbox a second.
LATE_S = 60.0


@dataclass(slots=True)
class QueueState:
    """A queue: its waiting messages, the age of the oldest if known, and its readers."""

    name: str
    purpose: str
    waiting: int
    oldest_s: float | None
    readers: int = 0


@dataclass(slots=True)
class Status:
    """The state of everything; None is unknown, because its server is down."""

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
    stripe_unanswered: int | None = None
    audit_findings: int | None = None

    @property
    def down(self) -> list[str]:
        """Return a sentence for each server or queue that is down."""
        unread = [q.name for q in self.queues if self.workers and not q.readers]
        checks = (
            (self.postgres != "up", f"postgres: {self.postgres}"),
            (self.redis != "up", f"redis: {self.redis}"),
            (self.redis == "up" and not self.workers, "no worker answers"),
            *[(True, f"no worker reads the queue {name}") for name in unread],
        )
        return [sentence for is_down, sentence in checks if is_down]

    @property
    def problems(self) -> list[str]:
        """Return a sentence for each thing that needs an operator."""
        ages = [(f"message in {q.name}", q.oldest_s) for q in self.queues]
        ages.append(("row in the inbox", self.inbox_oldest_s))
        late = [
            f"the oldest {what} has waited {age:.0f} s" for what, age in ages if (age or 0) > LATE_S
        ]
        counts = (
            (self.dead_letters, "dead letters: billing dead-letters list"),
            (self.outbox_dead, "dead events: billing outbox list"),
            (
                self.trials_to_confirm,
                "trials wait for your confirmation: billing trials list --due",
            ),
            (self.stripe_failed, "Stripe events failed: billing stripe events"),
            (self.stripe_parked, "Stripe events are parked: billing stripe events"),
            (
                self.stripe_unanswered,
                "Stripe payments without effect: billing audit, billing stripe prices link",
            ),
            (self.audit_findings, "open findings: billing audit, billing stripe drift"),
        )
        return [*self.down, *late, *[f"{count} {text}" for count, text in counts if count]]


@click.command()
@json_option
def status(as_json: bool) -> None:
    """Show servers, workers, queues and due work; exit 1 if something is down.

    Down means that a server does not answer, or that no worker reads a queue.
    """
    state = read()
    if as_json:
        show_json({**{f: getattr(state, f) for f in Status.__slots__}, "problems": state.problems})
    else:
        _show(state)
    if state.down:
        raise SystemExit(1)


def read() -> Status:
    """Read the state of everything once."""
    state = Status(postgres="up", redis="up")
    try:
        _read_redis(state)
    except redis.RedisError as error:
        state.redis = first_line(error)
    try:
        _read_postgres(state)
    except DBAPIError as error:
        state.postgres = first_line(error.orig)
    return state


def _read_redis(state: Status) -> None:
    import celeryconfig  # reads the settings, which `--help` does not need

    client = redis_queues.connection()
    client.ping()
    state.in_hand = redis_queues.in_hand(client)
    state.dead_letters_in_redis = worker_dead_letters.count_in_redis()
    with app.connection_for_read() as connection:  # a pooled one may be dead
        inspect = app.control.inspect(timeout=PING_S, connection=connection)
        queues_by_worker: dict[str, list[Any]] = inspect.active_queues() or {}
    state.workers = sorted(queues_by_worker)
    readers = Counter(queue["name"] for queues in queues_by_worker.values() for queue in queues)
    for name, purpose in celeryconfig.QUEUES.items():
        oldest_s = _message_age_s(redis_queues.oldest(client, name))
        waiting = redis_queues.depth(client, name)
        state.queues.append(QueueState(name, purpose, waiting, oldest_s, readers[name]))


def _read_postgres(state: Status) -> None:
    with transaction() as ctx:
        now = ctx.now
        state.dead_letters = dead_letters.count_open(ctx.session)
        state.inbox_waiting, oldest = inbox.waiting(ctx.session)
        state.inbox_oldest_s = _age_s(oldest, now)
        state.renewals_due, state.lots_due = due.count(ctx)
        state.holds_overdue = ctx.session.execute(
            select(func.count())
            .select_from(Hold)
            .where(Hold.state == "held", Hold.expires_at <= now)
        ).scalar_one()
        state.outbox_waiting, oldest_event, state.outbox_dead = deliveries.count(ctx.session)
        state.outbox_oldest_s = _age_s(oldest_event, now)
        state.trials_to_confirm = trial_sweeps.to_confirm(ctx)
        stripe = stripe_inbox.counts(ctx.session)
        state.stripe_failed, state.stripe_parked = stripe.get("failed", 0), stripe.get("parked", 0)
        state.stripe_unanswered = stripe_inbox.unanswered(ctx.session)
        state.audit_findings = ctx.session.execute(
            select(func.count()).select_from(Finding).where(Finding.closed_at.is_(None))
        ).scalar_one()


def _age_s(since: dt.datetime | None, now: dt.datetime) -> float | None:
    return round((now - since).total_seconds(), 1) if since else None


def _message_age_s(raw: str | bytes | None) -> float | None:
    if raw is None:
        return None
    try:
        sent_at = dt.datetime.fromisoformat(json.loads(raw)["headers"][SENT_AT])
        return _age_s(sent_at, clock.now())
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


def _show(state: Status) -> None:
    table(
        "servers and workers",
        ("what", "state"),
        [
            ("postgres", state.postgres),
            ("redis", state.redis),
            *[("worker", name) for name in state.workers],
        ],
    )
    table(
        "queues",
        ("queue", "purpose", "readers", "waiting", "oldest (s)"),
        [(q.name, q.purpose, q.readers, q.waiting, q.oldest_s) for q in state.queues],
    )
    table(
        "work",
        ("what", "count"),
        [
            ("messages held by workers", state.in_hand),
            ("open dead letters", state.dead_letters),
            ("dead letters still in Redis", state.dead_letters_in_redis),
            ("rows in the inbox", state.inbox_waiting),
            ("age of the oldest row (s)", state.inbox_oldest_s),
            ("periods to renew", state.renewals_due),
            ("lots to expire", state.lots_due),
            ("holds to expire", state.holds_overdue),
            ("events in the outbox", state.outbox_waiting),
            ("age of the oldest event (s)", state.outbox_oldest_s),
            ("dead events", state.outbox_dead),
            ("trials that wait for confirmation", state.trials_to_confirm),
            ("failed Stripe events", state.stripe_failed),
            ("parked Stripe events", state.stripe_parked),
            ("Stripe payments without effect", state.stripe_unanswered),
            ("open findings", state.audit_findings),
        ],
    )
    for problem in state.problems:
        console.print(problem, style="red")
    if not state.problems:
        console.print("nothing needs your attention", style="green")
