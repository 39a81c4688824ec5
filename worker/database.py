"""The database: one engine for each process, and the only place that commits."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from billing.context import Context, Policy
from worker import clock
from worker.half_open import Watch
from worker.settings import settings

#: Seconds that one statement of the audit may take, because it reads whole tables.
AUDIT_S = 1800
#: Seconds to wait for a connection to Postgres.
CONNECT_TIMEOUT_S = 3
#: A connection whose other end is gone is noticed within 10 seconds: by bytes that nobody
#: acknowledges (milliseconds), or by probes of an idle one. `worker.half_open` sees the rest.
_TCP = {
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}


#: Milliseconds that the transactions of a task wait for a lock; None: as long as the setting says.
task_lock_wait_ms: ContextVar[int | None] = ContextVar("lock_wait_ms", default=None)


#: The watch over the engine's connections, once there is an engine.
_watches: list[Watch] = []


@cache
def engine() -> Engine:
    """Return the engine of this process. Every wait has a timeout; the search path is pinned."""
    config = settings()
    options = (
        "-csearch_path=public -ctimezone=UTC"
        f" -cstatement_timeout={config.statement_timeout_s}s"
        f" -clock_timeout={config.lock_timeout_s}s"
        " -cidle_in_transaction_session_timeout=120s"
    )
    made = create_engine(
        config.database_url,
        # An error's text is logged and kept, so it must not contain a message's values.
        hide_parameters=True,
        pool_pre_ping=True,
        pool_size=5,
        connect_args={
            "options": options,
            "connect_timeout": CONNECT_TIMEOUT_S,
            "application_name": "billing",
            **_TCP,
        },
    )
    _watches.append(Watch(made, made.dialect.create_connect_args(made.url)[1]))
    return made


@contextmanager
def transaction(
    *,
    actor: str = "billing",
    statement_timeout_s: int | None = None,
    lock_wait_ms: int | None = None,
) -> Iterator[Context]:
    """Open one transaction: commit at the end, roll back on any error.

    Args:
        actor: The name recorded as the cause of its changes.
        statement_timeout_s: A longer timeout than the setting, for the audit.
        lock_wait_ms: A shorter wait for locks than the setting, or the task, allows.
    """
    wait_ms = task_lock_wait_ms.get() if lock_wait_ms is None else lock_wait_ms
    with Session(engine(), expire_on_commit=False) as session, session.begin():
        if statement_timeout_s is not None:
            # Not yet: the audit chooses the isolation of its transaction first.
            event.listen(session, "after_begin", _allow(statement_timeout_s))
        if wait_ms is not None:
            session.connection().exec_driver_sql(f"SET LOCAL lock_timeout = {wait_ms}")
        yield _context(session, actor)


@contextmanager
def rehearsal() -> Iterator[Context]:
    """Open one transaction that is always rolled back, for a dry run."""
    with Session(engine(), expire_on_commit=False) as session:
        yield _context(session, "billing")


def _context(session: Session, actor: str) -> Context:
    config = settings()
    secret = config.ledger_key.get_secret_value() if config.ledger_key else ""
    policy = Policy(
        trial_days=config.trial_days,
        grace_days=config.trial_grace_days,
        trial_credits_lapse=config.trial_credits_lapse,
        suspended_at_once=config.trials_suspended_at_once,
        repeated_trials=config.repeated_trials,
        closes_deleted=config.close_deleted,
        bridge_percent=config.renewal_bridge_percent,
        bridge_hours=config.renewal_bridge_hours,
        shortfall_minor=config.transfer_shortfall_minor,
        uses_unapplied_cash=config.use_unapplied_cash,
    )
    return Context(
        session,
        clock.now(),
        actor,
        policy,
        secret.encode() or None,
        config.reference_secrets,
    )


def _allow(seconds: int) -> Callable[..., None]:
    def set_timeout(_session: Session, _transaction: object, connection: Connection) -> None:
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = '{seconds}s'")

    return set_timeout


def is_away(error: BaseException) -> bool:
    """Whether the database itself is down, so that every other message would fail, too."""
    if not isinstance(error, DBAPIError):
        return False
    code = getattr(error.orig, "pgcode", None)
    # 08: no connection; 57P: shutting down or starting; 53: out of disk, memory or connections
    return error.connection_invalidated or code is None or code.startswith(("08", "57P", "53"))


def after_fork() -> None:
    """Forget the parent's connections in a forked child, without closing them for the parent."""
    for watch in _watches:
        watch.forget()
    if engine.cache_info().currsize:
        engine().dispose(close=False)
