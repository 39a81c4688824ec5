"""Verification of a webhook's signature: docs.stripe.com/webhooks#verify-manually.

Stripe's SDK takes one secret a call, counts the tolerance from now, which is wrong for a body that
waited in a queue, and accepts times in the future.
"""

import datetime as dt
import hashlib
import hmac
from collections.abc import Sequence
from typing import NamedTuple

from billing.stripe.errors import (
    BadSignature,
    FutureSignature,
    MalformedSignature,
    MissingSignature,
    StaleSignature,
)

#: The only scheme of live signatures; in test mode Stripe sends `v0` beside it.
SCHEME = "v1"
#: A header has a time, and a signature for each secret of the endpoint: a few hundred characters.
MAX_HEADER_CHARACTERS = 4096


class _Header(NamedTuple):
    signed_at: int
    signatures: tuple[str, ...]


def verify(
    body: bytes,
    header: str,
    *,
    secrets: Sequence[str],
    received_at: dt.datetime,
    tolerance: dt.timedelta,
) -> None:
    """Verify that `body` was signed with one of `secrets` within `tolerance` of `received_at`.

    `header` is the text of `Stripe-Signature`. Raises a SignatureRefused: MissingSignature,
    MalformedSignature, BadSignature, StaleSignature or FutureSignature.
    """
    given = _read(header)
    signed = b"%d." % given.signed_at + body
    expected = [hmac.new(s.encode(), signed, hashlib.sha256).hexdigest() for s in secrets]
    fits = [hmac.compare_digest(ours, theirs) for ours in expected for theirs in given.signatures]
    if not any(fits):
        raise BadSignature(secrets=len(secrets), signatures=len(given.signatures))
    age_s = received_at.timestamp() - given.signed_at
    if age_s > tolerance.total_seconds():
        raise StaleSignature(age_s=round(age_s))
    if -age_s > tolerance.total_seconds():
        raise FutureSignature(ahead_s=round(-age_s))


def sign(body: bytes, *, secret: str, at: dt.datetime) -> str:
    """Make the header that Stripe would send with this body, for tests and the demo."""
    signed_at = int(at.timestamp())
    signed = b"%d." % signed_at + body
    return (
        f"t={signed_at},{SCHEME}=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    )


def _read(header: str) -> _Header:
    if not header.strip():
        raise MissingSignature
    if len(header) > MAX_HEADER_CHARACTERS or not header.isascii():
        raise MalformedSignature(characters=len(header))
    parts = [part.strip().partition("=") for part in header.split(",")]
    times = [value for name, _, value in parts if name == "t"]
    signatures = tuple(value for name, _, value in parts if name == SCHEME and value)
    # Ten digits reach the year 2286, eleven the year 5138.
    if len(times) != 1 or not (times[0].isdigit() and len(times[0]) <= 11):
        raise MalformedSignature(times=len(times))
    if not signatures:
        raise MalformedSignature(signatures=0)
    return _Header(int(times[0]), signatures)
