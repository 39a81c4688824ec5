"""The Celery app. Run it with `celery -A worker.app worker`."""

import os
import signal
import threading
from typing import Any

from celery import Celery, signals

from billing_client import tls
from worker import alive, beat, database, logs, preflight
from worker.debits.bootstep import ReadDebitsInBatches
from worker.settings import settings
from worker.task import BillingTask
from worker.transport import transport
from worker.transport.leases import KeepLeases

log = logs.logger(__name__)

app: Any = Celery("billing", task_cls=BillingTask)
app.config_from_object("celeryconfig")
app.steps["consumer"].add(ReadDebitsInBatches)
app.steps["consumer"].add(KeepLeases)
app.steps["consumer"].add(alive.Alive)
signals.beat_init.connect(beat.begin)
signals.beat_embedded_init.connect(beat.begin)


@signals.setup_logging.connect
def _set_up_logging(**_: object) -> None:
    logs.configure()
    tls.warn(settings().redis_url)


@signals.celeryd_init.connect
def _check_preflight(**_: object) -> None:
    """Refuse to start on a problem; a worker whose servers are down starts and waits for them."""
    logs.configure()
    facts = preflight.check()
    for fact in facts:
        if fact.level == "unreachable":
            log.error("server_unreachable", server=fact.subject, reason=fact.what)
    if preflight.refuses(facts):
        problems = [f"{fact.subject}: {fact.what}" for fact in facts if fact.level == "problem"]
        raise SystemExit("A worker can't run here (billing preflight):\n" + "\n".join(problems))


@signals.worker_shutting_down.connect
def _limit_shutdown(how: str, **_: object) -> None:
    """Let a stopping worker finish its tasks; requeue those that take longer than the setting.

    Celery's own soft shutdown (REMAP_SIGTERM) sleeps its whole time even if no task is left, and is
    read from the environment before this module could set it.
    """
    if how == "Warm":
        end = threading.Timer(settings().soft_shutdown_s, os.kill, (os.getpid(), signal.SIGQUIT))
        end.daemon = True
        end.start()


@signals.celeryd_init.connect
def _take_tasks(**_: object) -> None:
    transport.Channel.takes_tasks = True


@signals.worker_process_init.connect
def _forget_parents_connections(**_: object) -> None:
    database.after_fork()
