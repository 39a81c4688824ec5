"""Work in a child process that something kills, until it is done."""

import os

from worker import database
from worker.transport import queues

#: A message or row with this in its metadata kills the process that applies it.
DEADLY = {"metadata": {"deadly": True}}


def kills_its_process(act):
    """As an act in which a C library crashes over some input."""

    def deadly(ctx, messages):
        if any(getattr(message, "metadata", None) == DEADLY["metadata"] for message in messages):
            os.kill(os.getpid(), 9)
        return act(ctx, messages)

    return deadly


def until_done(work, *, after_death):
    """Run the work in one child after the other until one ends well; return how many died."""
    for deaths in range(20):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                database.after_fork()
                queues.connection().connection_pool.reset()
                work()
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        if not os.WIFSIGNALED(status):
            assert os.waitstatus_to_exitcode(status) == 0
            return deaths
        after_death()
    raise AssertionError("it dies for ever")
