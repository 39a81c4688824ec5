"""The worker's app with a few tasks that take their time, fail or die; run it with `-A tests.worker.busywork`."""

import os
import signal
import time

from celery.exceptions import SoftTimeLimitExceeded

from billing.errors import TryLater
from billing_client.messages import Message
from worker.app import app
from worker.transport import queues

#: A Redis list with the names of the works done, in order.
DONE = "busywork.done"


class Work(Message, task="busywork", queue="credits"):
    name: str
    seconds: float = 0.0
    text: str = ""


def record(name):
    queues.connection().rpush(DONE, name)


@app.task(name="busywork.nap", message=Work)
def nap(work):
    record(f"{work.name} began")
    time.sleep(work.seconds)
    record(work.name)


@app.task(name="busywork.not_yet", message=Work)
def not_yet(work):
    """Fails for a cause that passes, until somebody sets its name in Redis."""
    record(f"{work.name} tried")
    if not queues.connection().exists(work.name):
        raise TryLater(until=work.name)
    record(work.name)


@app.task(name="busywork.bug", message=Work)
def bug(work):
    raise ZeroDivisionError(work.text)


@app.task(name="busywork.deaf", message=Work)
def deaf(work):
    """Goes on after it was asked to end."""
    try:
        time.sleep(work.seconds)
    except SoftTimeLimitExceeded:
        time.sleep(work.seconds)


@app.task(name="busywork.kill_own_process", message=Work, default_retry_delay=0.1)
def kill_own_process(work):
    """As the kernel does when memory is short; `text` says how often."""
    times = queues.connection().incr(work.name)
    record(f"{work.name} began")
    if times <= int(work.text):
        os.kill(os.getpid(), signal.SIGKILL)
    record(work.name)


@app.task(name="busywork.tick", is_tick=True)
def tick():
    raise TryLater(until="never")
