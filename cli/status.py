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

from billing.bank import waiting as bank_waiting
from billing.bank.line_ends import LineEnd
from billing.events import deliveries
from billing.lifecycle.trials import sweeps as trial_sweeps
from billing.operations import dead_letters
from billing.renewal import due
from billing.stripe import inbox_upkeep as stripe_inbox
from billing.usage import inbox
from billing_client.client import SENT_AT
from cli.bank.line_ends import show_line_ends
from cli.screen import console, in_json, json_option, table
from models.credits import Hold
from models.operations import Finding
from worker import beat, clock
from worker import dead_letters as worker_dead_letters
from worker.app import app
from worker.database import transaction
from worker.server_errors import first_line
from worker.transport import queues as redis_queues

#: Seconds to wait for the workers' answers; a running one answers in a tenth of that.
PING_S = 1.0
#: An older message is a problem: debits take milliseconds, the inbox a second.
LATE_S = 60.0


#: What is counted, with its row in the table of work. The fields of `--json` have these names.
COUNTS = {
    "in_hand": "messages held by workers",
    "dead_letters": "open dead letters",
    "dead_letters_in_redis": "dead letters still in Redis",
    "inbox_waiting": "rows in the inbox",
    "inbox_oldest_s": "age of the oldest row (s)",
    "renewals_due": "periods to renew",
    "lots_due": "lots to expire",
    "holds_overdue": "holds to expire",
    "outbox_waiting": "events in the outbox",
    "outbox_oldest_s": "age of the oldest event (s)",
    "outbox_dead": "dead events",
    "trials_to_confirm": "trials that wait for confirmation",
    "stripe_failed": "failed Stripe events",
    "stripe_parked": "parked Stripe events",
    "statements_held": "held statements",
    "files_refused": "refused statement files",
    "transfers_waiting": "transfers for review",
    "stripe_unanswered": "Stripe payments without effect",
    "audit_findings": "open findings",
}
#: The other fields of `--json`.
FACTS = ("postgres", "redis", "workers", "beat_silent_s", "queues", "unread_queues", "bank_lines")
#: The counts that need an operator if they are not 0.
PROBLEMS = {
    "dead_letters": "dead letters: billing dead-letters list",
    "outbox_dead": "dead events: billing outbox list",
    "trials_to_confirm": "trials wait for your confirmation: billing trials list --due",
    "stripe_failed": "Stripe events failed: billing stripe events",
    "stripe_parked": "Stripe events are parked: billing stripe events",
    "statements_held": "statements are held: billing statements list --held",
    "files_refused": "files were refused: billing statements files --refused",
    "transfers_waiting": "transfers wait for review: billing transfers review",
    "stripe_unanswered": "Stripe payments without effect: billing audit, stripe prices link",
    "audit_findings": "open findings: billing audit, billing stripe drift",
}


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
    """The state of everything; a count of None is unknown, because its server is down.

    `beat_silent_s`: None if beat never sent a tick. `unread_queues`: the messages in queues that no
    worker of this broker reads.
    """

    postgres: str = "up"
    redis: str = "up"
    workers: list[str] = field(default_factory=list)
    beat_silent_s: float | None = None
    queues: list[QueueState] = field(default_factory=list)
    unread_queues: dict[str, int] = field(default_factory=dict)
    counts: dict[str, float | None] = field(default_factory=lambda: dict.fromkeys(COUNTS))
    bank_lines: list[LineEnd] = field(default_factory=list)

    @property
    def down(self) -> list[str]:
        """Return a sentence for each server or queue that is down."""
        unread = [q.name for q in self.queues if self.workers and not q.readers]
        checks = (
            (self.postgres != "up", f"postgres: {self.postgres}"),
            (self.redis != "up", f"redis: {self.redis}"),
            (self.redis == "up" and not self.workers, "no worker answers"),
            *[(True, f"no worker reads the queue {name}") for name in unread],
            (self.redis == "up" and self._is_beat_dead, f"beat {self.beat}"),
        )
        return [sentence for is_down, sentence in checks if is_down]

    @property
    def _is_beat_dead(self) -> bool:
        return self.beat_silent_s is None or self.beat_silent_s > beat.SILENT_AFTER_S

    @property
    def beat(self) -> str:
        """The words about beat."""
        if self.beat_silent_s is None:
            return "has never sent a tick"
        return f"sent its last tick {self.beat_silent_s:.0f} s ago"

    @property
    def problems(self) -> list[str]:
        """Return a sentence for each thing that needs an operator."""
        ages = [(f"message in {q.name}", q.oldest_s) for q in self.queues]
        ages.append(("row in the inbox", self.counts["inbox_oldest_s"]))
        late = [
            f"the oldest {what} has waited {age:.0f} s" for what, age in ages if (age or 0) > LATE_S
        ]
        unread = [
            f"{count} messages in the queue {name}, which no worker reads"
            for name, count in self.unread_queues.items()
        ]
        counts = [
            f"{self.counts[name]} {hint}" for name, hint in PROBLEMS.items() if self.counts[name]
        ]
        return [*self.down, *late, *unread, *counts]


@click.command()
@json_option
def status() -> None:
    """Show servers, workers, queues and due work; exit 1 if something is down.

    Down means that a server does not answer, that no worker reads a queue, or that beat is silent.
    """
    state = read()
    facts = {name: getattr(state, name) for name in FACTS}
    if not in_json({**facts, **state.counts, "problems": state.problems}):
        _show(state)
    if state.down:
        raise SystemExit(1)


def read() -> Status:
    """Read the state of everything once."""
    state = Status()
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
    state.counts["in_hand"] = redis_queues.in_hand(client)
    state.counts["dead_letters_in_redis"] = worker_dead_letters.count_in_redis()
    with app.connection_for_read() as connection:  # a pooled one may be dead
        inspect = app.control.inspect(timeout=PING_S, connection=connection)
        queues_by_worker: dict[str, list[Any]] = inspect.active_queues() or {}
    state.workers = sorted(queues_by_worker)
    readers = Counter(queue["name"] for queues in queues_by_worker.values() for queue in queues)
    for name, purpose in celeryconfig.QUEUES.items():
        oldest_s = _message_age_s(redis_queues.oldest(client, name))
        waiting = redis_queues.depth(client, name)
        state.queues.append(QueueState(name, purpose, waiting, oldest_s, readers[name]))
    state.unread_queues = redis_queues.others(client, {*celeryconfig.QUEUES, *readers})
    state.beat_silent_s = beat.silent_s(client)


def _read_postgres(state: Status) -> None:
    overdue = select(func.count(Hold.key)).where(Hold.state == "held")
    findings = select(func.count(Finding.id)).where(Finding.closed_at.is_(None))
    with transaction() as ctx:
        session, now = ctx.session, ctx.now
        in_inbox, oldest_row = inbox.waiting(session)
        renewals_due, lots_due = due.count(ctx)
        in_outbox, oldest_event, dead_events = deliveries.count(session)
        stripe, bank = stripe_inbox.counts(session), bank_waiting.read(session)
        state.counts |= {
            "dead_letters": dead_letters.count_open(session),
            "inbox_waiting": in_inbox,
            "inbox_oldest_s": _age_s(oldest_row, now),
            "renewals_due": renewals_due,
            "lots_due": lots_due,
            "holds_overdue": session.scalar(overdue.where(Hold.expires_at <= now)),
            "outbox_waiting": in_outbox,
            "outbox_oldest_s": _age_s(oldest_event, now),
            "outbox_dead": dead_events,
            "trials_to_confirm": trial_sweeps.to_confirm(ctx),
            "stripe_failed": stripe.get("failed", 0),
            "stripe_parked": stripe.get("parked", 0),
            "statements_held": bank.statements_held,
            "files_refused": bank.files_refused,
            "transfers_waiting": bank.transfers_waiting,
            "stripe_unanswered": stripe_inbox.unanswered(session),
            "audit_findings": session.scalar(findings),
        }
        state.bank_lines = bank.line_ends


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
    servers = [("postgres", state.postgres), ("redis", state.redis)]
    workers = [("worker", name) for name in state.workers]
    table("servers and workers", ("what", "state"), [*servers, *workers, ("beat", state.beat)])
    columns = "queue: name, purpose, readers, waiting, oldest (s): oldest_s"
    table("queues", columns, state.queues)
    rows = [(label, state.counts[name]) for name, label in COUNTS.items()]
    table("work", ("what", "count"), rows)
    if state.bank_lines:
        show_line_ends("bank lines", state.bank_lines)
    for problem in state.problems:
        console.print(problem, style="red")
    if not state.problems:
        console.print("nothing needs your attention", style="green")
