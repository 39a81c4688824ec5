"""The Celery app. Run it with `celery -A worker.app worker`; it finds its tasks by name."""

import os
import signal
import threading
from typing import Any

from celery import Celery, signals

from worker import alive, database, logs, preflight
from worker.debits.bootstep import ReadDebitsInBatches
from worker.settings import settings
from worker.task import BillingTask
from worker.transport import transport
from worker.transport.leases import KeepLeases

app: Any = Celery("billing", task_cls=BillingTask)
app.config_from_object("celeryconfig")
app.steps["consumer"].add(ReadDebitsInBatches)
app.steps["consumer"].add(KeepLeases)
app.steps["consumer"].add(alive.Alive)


@signals.setup_logging.connect
def _set_up_logging(**_: object) -> None:
    logs.configure()


@signals.celeryd_init.connect
def _refuse_bad_ground(**_: object) -> None:
    """A worker that could harm the books does not start; one whose servers are away waits."""
    facts = preflight.look()
    if preflight.refuses(facts):
        wrong = [f"{fact.subject}: {fact.what}" for fact in facts if fact.level == "problem"]
        raise SystemExit("this worker must not run here (billing preflight):\n" + "\n".join(wrong))


@signals.worker_shutting_down.connect
def _end_in_time(how: str, **_: object) -> None:
    """A worker that is told to stop finishes its tasks; what takes too long it gives back.

    Celery's own way (REMAP_SIGTERM with a soft shutdown) sleeps its whole time also when nothing is
    left to do, and is read from the environment before this module could set it.
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
