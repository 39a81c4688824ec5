"""The tracer counts each call into another file, and only these."""

import threading

from tests.tools.tracer import product_file, trace


def module(name, source, **imported):
    """The names that a file of this source defines."""
    exec(compile(source, name, "exec"), imported)
    return imported


def visits(act):
    """The trip's files and functions, with the files named by one letter as ours."""
    trip = trace(act, lambda name: name if len(name) == 1 else None)
    return [f"{visit.file}: {' '.join(visit.functions)}" for visit in trip.visits], trip


def test_each_call_into_another_file_is_a_change_and_a_return_is_none():
    b = module("b", "def step(): return inner()\ndef inner(): return 1")
    a = module("a", "def job(): step(); step(); last()\ndef last(): step()", step=b["step"])

    shown, trip = visits(a["job"])

    assert shown == ["a: job", "b: step inner step inner", "a: last", "b: step inner"]
    assert (trip.files, trip.changes) == (2, 4)
    assert trip.entries == {"a": 2, "b": 2}


def test_calls_of_other_people_s_files_are_no_change():
    a = module(
        "a", "def job(): library(); last()\ndef last(): pass", library=threading.active_count
    )

    assert visits(a["job"])[0] == ["a: job last"]


def test_a_generator_handed_to_a_writer_is_a_change_at_each_item():
    b = module("b", "def write(items):\n  for item in items: keep(item)\ndef keep(item): pass")
    source = "def job(): write(items())\ndef items():\n  yield 1\n  yield 2"
    a = module("a", source, write=b["write"])

    assert visits(a["job"])[0] == [
        "a: job",
        "b: write",
        "a: items",
        "b: keep",
        "a: items",
        "b: keep",
        "a: items",
    ]


def test_a_generator_expression_counts_only_where_another_file_runs_it():
    b = module("b", "def write(items): return list(items)\ndef cost(n): return n")
    own = module("a", "def job(): return sum(cost(n) for n in (1, 2))", cost=b["cost"])
    handed = module("a", "def job(): return write(n for n in (1, 2))", write=b["write"])

    assert visits(own["job"])[0] == ["a: job", "b: cost cost"]
    assert visits(handed["job"])[0][:2] == ["a: job", "b: write"]
    assert visits(handed["job"])[1].entries == {"a": 2, "b": 1}


def test_a_callback_from_c_is_a_change():
    b = module("b", "def cost(n): return n")
    a = module("a", "def job(): sorted([2, 1], key=cost); last()\ndef last(): pass", cost=b["cost"])

    assert visits(a["job"])[0] == ["a: job", "b: cost cost", "a: last"]


def test_a_thread_s_visits_follow_those_of_the_thread_that_began_it():
    b = module("b", "def lane(): pass")
    source = "def job():\n  lane_thread = Thread(target=lane)\n  lane_thread.start()\n  lane_thread.join()\n  last()\ndef last(): pass"
    a = module("a", source, Thread=threading.Thread, lane=b["lane"])

    assert visits(a["job"])[0] == ["a: job last", "b: lane"]


def test_only_what_the_product_ships_is_its_own():
    assert product_file(trace.__code__.co_filename) is None
    assert product_file(threading.__file__) is None

    from worker import clock

    assert product_file(clock.__file__) == "worker/clock.py"
