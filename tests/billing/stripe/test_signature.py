"""A body is Stripe's if one of our secrets signed it, near the time it was received."""

import datetime as dt

import pytest

from billing.stripe.errors import (
    BadSignature,
    FutureSignature,
    MalformedSignature,
    MissingSignature,
    StaleSignature,
)
from billing.stripe.signature import MAX_HEADER_CHARACTERS, sign, verify

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
BODY = b'{"id": "evt_1"}'
OLD, NEW, FOREIGN = "whsec_old", "whsec_new", "whsec_foreign"
TOLERANCE = dt.timedelta(seconds=300)


def check(header, *, body=BODY, secrets=(NEW,), received_at=NOON) -> None:
    verify(body, header, secrets=secrets, received_at=received_at, tolerance=TOLERANCE)


def signed(*, secret=NEW, at=NOON) -> str:
    return sign(BODY, secret=secret, at=at)


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(signed(), id="as Stripe writes it"),
        pytest.param(signed().replace(",", " , "), id="with blanks"),
        pytest.param(signed() + ",v0=abc", id="beside another scheme"),
        pytest.param(signed() + ",v1=0000", id="beside another endpoint's signature"),
        pytest.param(signed(at=NOON - TOLERANCE), id="as old as may be"),
        pytest.param(signed(at=NOON + TOLERANCE), id="as far ahead as may be"),
    ],
)
def test_a_signature_that_fits_is_taken(header):
    check(header)


@pytest.mark.parametrize("secret", [OLD, NEW], ids=["the old secret", "the new secret"])
def test_while_a_secret_is_rotated_both_fit(secret):
    check(signed(secret=secret), secrets=(OLD, NEW))


def test_the_tolerance_counts_from_the_receipt_not_from_now():
    long_ago = NOON - dt.timedelta(days=3)

    check(signed(at=long_ago), received_at=long_ago + dt.timedelta(seconds=10))


@pytest.mark.parametrize(
    ("header", "error"),
    [
        pytest.param("", MissingSignature, id="none"),
        pytest.param("  ", MissingSignature, id="blanks"),
        pytest.param("nonsense", MalformedSignature, id="nonsense"),
        pytest.param("t=,v1=ab", MalformedSignature, id="no time"),
        pytest.param("t=-5,v1=ab", MalformedSignature, id="a time before 1970"),
        pytest.param("t=" + "9" * 12 + ",v1=ab", MalformedSignature, id="a time of 12 digits"),
        pytest.param("t=1,t=2,v1=ab", MalformedSignature, id="two times"),
        pytest.param("v1=ab", MalformedSignature, id="a signature without a time"),
        pytest.param("t=1772366400", MalformedSignature, id="a time without a signature"),
        pytest.param("t=1772366400,v1=", MalformedSignature, id="an empty signature"),
        pytest.param(signed().replace("v1", "v0"), MalformedSignature, id="the test scheme alone"),
        pytest.param("t=\u0661,v1=ab", MalformedSignature, id="digits of another script"),
        pytest.param("v1=ab," * MAX_HEADER_CHARACTERS, MalformedSignature, id="too long"),
        pytest.param(signed(secret=FOREIGN), BadSignature, id="a wrong secret"),
        pytest.param(signed()[:-1], BadSignature, id="cut short"),
        pytest.param(signed().upper().replace("T=", "t=").replace("V1", "v1"), BadSignature,
                     id="in capitals"),
        pytest.param("t=1772366400,v1=é".encode().decode("latin-1"), MalformedSignature,
                     id="not in ASCII"),
        pytest.param(signed(at=NOON - dt.timedelta(seconds=301)), StaleSignature, id="stale"),
        pytest.param(signed(at=NOON + dt.timedelta(seconds=301)), FutureSignature, id="ahead"),
    ],
)  # fmt: skip
def test_a_signature_that_does_not_fit_is_refused_by_name(header, error):
    with pytest.raises(error):
        check(header)


def test_a_body_changed_by_one_byte_is_refused():
    for position in range(len(BODY)):
        changed = bytearray(BODY)
        changed[position] ^= 1

        with pytest.raises(BadSignature):
            check(signed(), body=bytes(changed))


def test_without_a_secret_nothing_fits():
    with pytest.raises(BadSignature):
        check(signed(), secrets=())


def test_a_wrong_signature_is_told_before_a_stale_one():
    """Else who guesses learns whether the time was right."""
    with pytest.raises(BadSignature):
        check(signed(secret=FOREIGN, at=NOON - dt.timedelta(days=1)))
