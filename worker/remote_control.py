"""What a worker answers when it is asked which queues it reads: the debits too, read in sets.

Flower's Broker screen, `celery inspect active_queues` and `billing status` ask that. By Celery's
own answer nobody reads the debits.
"""

from typing import Any

from celery.worker import control

#: Celery's own answer: the queues of which it takes one message at a time.
_one_by_one: Any = control.Panel.data["active_queues"]


@control.inspect_command()
def active_queues(state: Any) -> list[dict[str, object]]:
    """List the queues that this worker reads."""
    in_sets = getattr(state.consumer, "read_in_sets", ())
    return [*_one_by_one(state), *[dict(queue.as_dict(recurse=True)) for queue in in_sets]]
