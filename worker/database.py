"""The database: one engine a process, and the only place that commits."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from billing.ledger.ledger import LEDGER_KEY
from billing.policy import POLICY, Policy
from billing.postgres.transient import is_locked, passes
from worker.settings import settings

__all__ = ["AUDIT_S", "after_fork", "engine", "is_away", "is_locked", "passes", "transaction"]

#: Seconds that one statement of the audit may take: it reads whole tables.
AUDIT_S = 1800
#: Seconds to wait for Postgres to take a connection.
CONNECT_TIMEOUT_S = 5


@cache
def engine() -> Engine:
    """The engine of this process. Times out rather than waits for ever; pins the search path."""
    config = settings()
    options = (
        "-csearch_path=public -ctimezone=UTC"
        f" -cstatement_timeout={config.statement_timeout_s}s"
        f" -clock_timeout={config.lock_timeout_s}s"
        " -cidle_in_transaction_session_timeout=120s"
    )
    return create_engine(
        config.database_url,
        # What a message holds has no place in an error's text, which is logged and kept.
        hide_parameters=True,
        pool_pre_ping=True,
        pool_size=5,
        connect_args={
            "options": options,
            "connect_timeout": CONNECT_TIMEOUT_S,
            "application_name": "billing",
            "keepalives_idle": 30,
        },
    )


@contextmanager
def transaction(*, statement_timeout_s: int | None = None) -> Iterator[Session]:
    """One transaction: commits at the end, rolls back on any error.

    `statement_timeout_s`: for the few that may take longer than the setting allows.
    """
    with Session(engine(), expire_on_commit=False, info=_info()) as session, session.begin():
        if statement_timeout_s is not None:
            event.listen(session, "after_begin", _allow(statement_timeout_s))
        yield session


@contextmanager
def rehearsal() -> Iterator[Session]:
    """One transaction that is always rolled back: what it did is seen by nobody else."""
    with Session(engine(), expire_on_commit=False, info=_info()) as session:
        yield session


def _info() -> dict[object, object]:
    """What a session carries: the settings that the domain needs, which does not read them."""
    config = settings()
    secret = config.ledger_key.get_secret_value() if config.ledger_key else ""
    policy = Policy(
        trial_days=config.trial_days,
        grace_days=config.trial_grace_days,
        trial_credits_lapse=config.trial_credits_lapse,
        suspended_at_once=config.trials_suspended_at_once,
        repeated_trials=config.repeated_trials,
        closes_deleted=config.close_deleted,
    )
    return {LEDGER_KEY: secret.encode() or None, POLICY: policy}


def _allow(seconds: int) -> Callable[..., None]:
    def set_timeout(_session: Session, _transaction: object, connection: Connection) -> None:
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = '{seconds}s'")

    return set_timeout


def is_away(error: BaseException) -> bool:
    """Whether the database itself is gone, so that no other message would fare better."""
    if not isinstance(error, DBAPIError):
        return False
    code = getattr(error.orig, "pgcode", None)
    # 08: connection, 57P: shut down or starting, 53: out of disk, memory or connections
    return error.connection_invalidated or code is None or code.startswith(("08", "57P", "53"))


def after_fork() -> None:
    """Forget the parent's connections in a child, without closing them for the parent."""
    if engine.cache_info().currsize:
        engine().dispose(close=False)
