"""A stock Celery app as a user would write it: a careful debit task, and a task that does nothing.

The bench runs it as `celery -A bench.stock worker`. It uses nothing of this project but the models
of the main app's tables.
"""

import os
from functools import cache
from typing import Any

from celery import Celery
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session, sessionmaker

from models.host import Account, CreditTransaction

NO_OP, NAIVE = "bench.no_op", "bench.naive_debit"

app: Any = Celery("stock", broker=os.environ.get("REDIS_URL"), set_as_current=False)
app.conf.update(
    task_acks_late=True,
    # The fastest of the values from 1 to 64 (docs/decisions/0002).
    worker_prefetch_multiplier=4,
    task_ignore_result=True,
    task_routes={NO_OP: {"queue": NO_OP}, NAIVE: {"queue": NAIVE}},
    broker_connection_retry_on_startup=True,
)

_PRICES = {"clustering": 10, "idea_generation": 2, "image_prompt_extraction": 2}


class NotEnough(Exception):
    """The account has fewer credits than the operation costs."""


@cache
def _sessions() -> sessionmaker[Session]:
    return sessionmaker(create_engine(os.environ["DATABASE_URL"]))


@app.task(name=NO_OP)  # type: ignore[untyped-decorator]
def no_op(account_id: int, operation: str, key: str, units: int) -> None:
    """Do nothing, to measure Celery's own cost."""


@app.task(name=NAIVE)  # type: ignore[untyped-decorator]
def naive_debit(account_id: int, operation: str, key: str, units: int) -> None:
    """Take one debit: lock the account, check, write the line and the balance, commit."""
    cost = _PRICES[operation] * units
    with _sessions().begin() as session:
        account = session.scalars(
            select(Account).where(Account.id == account_id).with_for_update()
        ).one()
        if account.credits < cost:
            raise NotEnough(account_id)
        account.credits -= cost
        session.add(
            CreditTransaction(
                account_id=account.id,
                type="deduction",
                amount=-cost,
                balance_after=account.credits,
                description=operation,
            )
        )
