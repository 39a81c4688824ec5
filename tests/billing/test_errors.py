"""Errors are facts: they carry their data and survive pickling, as Celery needs."""

import pickle

from billing import errors


def test_every_error_survives_pickling_with_its_facts():
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.BillingError)
    ]

    for kind in kinds:
        error = kind(account_id=7)
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), again.facts, str(again)) == (kind, {"account_id": 7}, str(error))


def test_an_error_says_its_docstring_with_its_facts_and_then_the_facts_that_it_does_not_name():
    error = errors.InsufficientCredits(needed=10, available=5, debt=0, account_id=7)

    assert str(error) == (
        "10 credits are needed, 5 are available, and 0 are owed already (account_id=7)"
    )


def test_a_fact_that_is_missing_is_unknown():
    assert str(errors.UnknownAccount()) == "No account has the id or slug unknown"


def test_the_tree_at_the_top_of_the_module_names_every_error():
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, errors.BillingError):
            assert name in errors.__doc__
