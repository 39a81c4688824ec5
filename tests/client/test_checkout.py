"""A signed reference says whose account pays, and nobody without the secret can write one."""

import datetime as dt
import re

import pytest

from billing_client import InvalidField, checkout_reference
from billing_client.checkout import named_account, read_reference

SECRET = "a secret of the tests"
NOON = dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC)


def read(reference, *secrets, opened_at=NOON):
    return read_reference(reference, secrets=secrets or (SECRET,), opened_at=opened_at)


@pytest.mark.parametrize("account_id", [1, 29, 2**63 - 1])
def test_a_reference_is_read_with_the_secret_that_signed_it(account_id):
    reference = checkout_reference(account_id, secret=SECRET)

    assert read(reference) == account_id
    assert read(reference, "another secret, of old", SECRET) == account_id
    assert read(reference, "another secret, of old") is None


def test_a_payment_link_takes_every_reference():
    reference = checkout_reference(2**63 - 1, secret=SECRET, expires_at=NOON)

    assert re.fullmatch(r"[A-Za-z0-9_-]{1,200}", reference)


def test_no_part_of_a_reference_can_be_changed():
    reference = checkout_reference(29, secret=SECRET, expires_at=NOON)

    for place, letter in enumerate(reference):
        other = "1" if letter != "1" else "2"
        assert read(reference[:place] + other + reference[place + 1 :]) is None, place


@pytest.mark.parametrize(
    "text", ["", "29", "acc_29", "acc_29_0_", "acc_0_0_" + "0" * 32, "acc_29_0_" + "é" * 32, "x"]
)
def test_what_is_no_reference_names_nobody_by_signature(text):
    assert read(text) is None


def test_a_reference_counts_until_it_expires():
    reference = checkout_reference(29, secret=SECRET, expires_at=NOON)

    assert read(reference, opened_at=NOON) == 29
    assert read(reference, opened_at=NOON + dt.timedelta(seconds=1)) is None
    assert read(reference, opened_at=None) is None


def test_the_secret_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("BILLING_CHECKOUT_SECRETS", f"{SECRET}, one of last year")

    assert read(checkout_reference(29)) == 29


@pytest.mark.parametrize("secret", [None, "", "too short"])
def test_without_a_long_secret_nothing_is_signed(monkeypatch, secret):
    monkeypatch.delenv("BILLING_CHECKOUT_SECRETS", raising=False)

    with pytest.raises(InvalidField, match="BILLING_CHECKOUT_SECRETS"):
        checkout_reference(29, secret=secret)


@pytest.mark.parametrize("account_id", [0, -1, "29", 2**63, True])
def test_an_id_that_is_none_is_refused(account_id):
    with pytest.raises(InvalidField):
        checkout_reference(account_id, secret=SECRET)


def test_an_expiry_without_a_time_zone_is_refused():
    with pytest.raises(InvalidField):
        checkout_reference(29, secret=SECRET, expires_at=dt.datetime(2026, 11, 1))


def test_a_person_reads_whom_an_unsigned_reference_names():
    forged = checkout_reference(29, secret="f" * 16)

    assert [named_account(text) for text in ("29", forged, "order-29", "9" * 19)] == [
        29,
        29,
        None,
        None,
    ]
