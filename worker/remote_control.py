"""The remote-control command `active_queues`, with the debit queue, which is read in batches.

Flower's Broker screen, `celery inspect active_queues` and `billing status` call it. Celery's own
answer lacks the debit queue.
"""

from typing import Any

from celery.worker import control

#: Celery's own command: the queues of which the worker takes one message at a time.
_one_by_one: Any = control.Panel.data["active_queues"]


@control.inspect_command()
def active_queues(state: Any) -> list[dict[str, object]]:
    """List the queues that this worker reads."""
    in_batches = getattr(state.consumer, "read_in_batches", ())
    return [*_one_by_one(state), *[dict(queue.as_dict(recurse=True)) for queue in in_batches]]
