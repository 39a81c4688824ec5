"""Whatever a stranger sends is answered, or refused by name: some changes here, many in `make test-long`."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz.mutate import mutants
from tests.fuzz.targets import TARGETS
from tests.seeds import part

CORPUS = Path(__file__).with_name("corpus")
FOUND = sorted(path for path in CORPUS.glob("*/*") if path.is_file())
NO_MATTER = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]


def run(name, **options):
    target = TARGETS[name]

    @settings(deadline=None, database=None, suppress_health_check=NO_MATTER, **options)
    @given(mutants(target.seeds))
    def check(data):
        target.check(data)

    check()


@pytest.mark.parametrize("name", TARGETS)
def test_good_inputs_are_good(name):
    for seed in TARGETS[name].seeds:
        TARGETS[name].check(seed)


@pytest.mark.parametrize("path", FOUND, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_once_broke_something_is_answered(path):
    TARGETS[path.parent.name].check(path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_a_changed_input_is_answered_or_refused_by_name(name):
    run(name, max_examples=300, derandomize=True)


@pytest.mark.long
@pytest.mark.parametrize("name", TARGETS)
def test_many_changed_inputs_are_answered_or_refused_by_name(name):
    run(name, max_examples=part(20_000))
