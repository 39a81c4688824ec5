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
        again = pickle.loads(pickle.dumps(kind(account_id=7)))
        assert (type(again), again.facts, str(again)) == (kind, {"account_id": 7}, "account_id=7")


def test_the_tree_at_the_top_of_the_module_names_every_error():
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, errors.BillingError):
            assert name in errors.__doc__
