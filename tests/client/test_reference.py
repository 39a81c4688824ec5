"""The client's docstrings, from which its reference is generated."""

import inspect

import pytest

from billing_client import BillingClient, access, inbox, new_key
from billing_client.throttle import AccountThrottle

METHODS = [f for name, f in inspect.getmembers(BillingClient) if not name.startswith("_")]
FUNCTIONS = [*METHODS, access, inbox.leave, new_key, AccountThrottle.allow]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_every_argument_and_result_is_documented(function):
    documented = inspect.getdoc(function)
    signature = inspect.signature(function)

    for name in signature.parameters.keys() - {"self"}:
        assert f"\n    {name}: " in documented.partition("Args:")[2]
    assert ("Returns:" in documented) == (signature.return_annotation not in {None, "None"})
