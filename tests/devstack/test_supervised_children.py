"""Children side by side: started in order, stopped in reverse, and never left behind."""

import os
import sys

import pytest

from devstack.children import Command
from devstack.errors import ChildFailed
from devstack.guard import Guard
from devstack.stopping import StopRequest
from devstack.supervisor import Step, Supervisor

STAYS = "import time; time.sleep(600)"
DIES = "print('the last words'); raise SystemExit(7)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"

# As Celery's prefork pool does: forks, and the grandchild ignores what asks its parent to stop.
HAS_A_GRANDCHILD = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    print("grandchild", os.getpid(), flush=True)
time.sleep(600)
"""

SUPERVISES_A_GRANDCHILD = """
import sys
from pathlib import Path
from devstack.children import Command
from devstack.folder import DataFolder
from devstack.guard import Guard
from devstack.stopping import StopRequest
from devstack.supervisor import Step, Supervisor
folder, stop = DataFolder(Path(sys.argv[1])), StopRequest()
folder.create()
child = Step(Command("child", (sys.executable, "-c", sys.argv[2]), {}))
with Guard() as guard:
    written = lambda: "grandchild" in folder.log("child").read_text()
    last = Step(Command("last", (sys.executable, "-c", "import time; time.sleep(600)"), {}), when=written)
    output = lambda: print(guard._guardian.pid, *(child.pid for child in guard.children), "\\nready", flush=True)
    Supervisor(guard, folder, stop, say=lambda line: None).run([child, last], on_running=output)
"""


def python(name, code, *, once=False, when=lambda: True, grace_seconds=10.0):
    command = Command(name, (sys.executable, "-c", code), os.environ, grace_seconds=grace_seconds)
    return Step(command, once=once, when=when)


@pytest.fixture
def supervise(empty):
    """Runs steps under a stop request that tests can count up; its lines are in `.output`."""
    empty.create()

    class Supervise:
        def __init__(self):
            self.stop, self.output = StopRequest(), []

        def __call__(self, *steps, on_running=lambda: None):
            with Guard(self.stop.times) as guard:
                Supervisor(guard, empty, self.stop, say=self.output.append).run(
                    steps, on_running=on_running
                )

        def story(self):
            return [line.partition(" (")[0] for line in self.output]

    return Supervise()


def test_children_start_in_order_and_stop_in_reverse(supervise):
    supervise(python("worker", STAYS), python("beat", STAYS), on_running=supervise.stop.count)

    assert supervise.story() == [
        "started worker",
        "started beat",
        "stopping beat",
        "stopping worker",
    ]


def test_a_child_that_dies_is_named_with_its_last_words_and_the_others_stop(supervise, empty):
    with pytest.raises(ChildFailed) as failure:
        supervise(python("worker", STAYS), python("beat", DIES))

    assert str(failure.value) == (
        f"beat ended with exit code 7. The end of {empty.log('beat')}:\n  | the last words"
    )
    assert supervise.story()[-2:] == ["stopping beat", "stopping worker"]


def test_the_tail_shows_this_run_and_not_the_one_before(supervise, empty):
    empty.log("beat").write_text("an old story\n")

    with pytest.raises(ChildFailed) as failure:
        supervise(python("beat", DIES))

    assert failure.value.tail == "the last words"


def test_a_step_that_runs_once_ends_before_the_next_begins(supervise, tmp_path):
    made = tmp_path / "made"
    seen = []

    supervise(
        python(
            "migrate", f"import time; time.sleep(0.2); open({str(made)!r}, 'w').close()", once=True
        ),
        python("worker", STAYS),
        on_running=lambda: (seen.append(made.exists()), supervise.stop.count()),
    )

    assert seen == [True]


def test_a_step_that_runs_once_and_fails_keeps_the_rest_from_starting(supervise):
    with pytest.raises(ChildFailed, match="migrate ended with exit code 7"):
        supervise(python("migrate", DIES, once=True), python("worker", STAYS))

    assert supervise.story() == ["started migrate"]


def test_a_step_waits_for_its_condition(supervise, tmp_path):
    sign = tmp_path / "sign"

    supervise(
        python("worker", f"import time; open({str(sign)!r}, 'w').close(); time.sleep(600)"),
        python("flower", STAYS, when=sign.exists),
        on_running=supervise.stop.count,
    )

    assert supervise.story()[:2] == ["started worker", "started flower"]


def test_a_child_that_dies_while_another_waits_for_it_is_noticed(supervise):
    with pytest.raises(ChildFailed, match="worker ended with exit code 7"):
        supervise(python("worker", DIES), python("flower", STAYS, when=lambda: False))


def test_asking_three_times_ends_a_child_that_does_not_listen_without_its_grace(
    supervise, empty, eventually
):
    def ask_thrice():
        assert eventually(lambda: "up" in empty.log("worker").read_text())
        for _ in range(3):
            supervise.stop.count()

    supervise(python("worker", STUBBORN, grace_seconds=600), on_running=ask_thrice)

    assert supervise.story() == ["started worker", "stopping worker"]


def test_grandchildren_of_a_child_that_died_are_ended_too(supervise, empty, eventually, all_gone):
    def kill_the_child():
        assert eventually(lambda: "grandchild" in empty.log("worker").read_text())
        os.kill(int(supervise.output[0].rpartition("pid ")[2].rstrip(")")), 9)

    with pytest.raises(ChildFailed, match="worker ended with exit code -9"):
        supervise(python("worker", HAS_A_GRANDCHILD), on_running=kill_the_child)

    assert all_gone([int(empty.log("worker").read_text().split()[1])])


def test_after_a_kill_9_of_the_supervisor_no_child_guardian_or_grandchild_is_left(
    empty, script, kill_9, all_gone
):
    supervisor, output = script(SUPERVISES_A_GRANDCHILD, empty.path, HAS_A_GRANDCHILD)
    children = [int(pid) for pid in output.split()]
    grandchild = int(empty.log("child").read_text().split()[1])

    kill_9(supervisor)

    assert all_gone([*children, grandchild])
