"""Signed references: they say in a Checkout session whose account pays, and nobody can forge them.

Stripe takes a `client_reference_id` from the address of a Payment Link, and from the attribute of a
pricing table or buy button, so any payer can write one. A reference that the worker trusts carries
an HMAC. Payment Links take letters, digits, dashes and underscores, up to 200 characters:
docs.stripe.com/payment-links/url-parameters
"""

import datetime as dt
import hashlib
import hmac
import os
import re
from collections.abc import Iterable

from billing_client import fields
from billing_client.errors import InvalidField

#: The environment variable with the secrets, separated by commas; the first one signs.
SECRETS = "BILLING_CHECKOUT_SECRETS"
#: Shorter secrets can be guessed.
MIN_SECRET_CHARACTERS = 16
#: 128 bits of HMAC-SHA256, in hexadecimal.
_MAC_CHARACTERS = 32
_FORM = re.compile(r"acc_([1-9][0-9]{0,18})_([0-9]{1,12})_([0-9a-f]{32})")
_BARE = re.compile(r"[1-9][0-9]{0,18}")


def checkout_reference(
    account_id: int, *, secret: str | None = None, expires_at: dt.datetime | None = None
) -> str:
    """Make the `client_reference_id` of a Checkout session, Payment Link or pricing table.

    The worker links the payer to this account, and gives it what was bought.

    Args:
        account_id: The main app's id of the account.
        secret: The secret that the worker knows too. None: the first of BILLING_CHECKOUT_SECRETS.
        expires_at: When Checkout must have been opened, with a time zone. None: at any time.

    Returns:
        The reference, such as `acc_29_0_5d41402abc4b2a76b9719d911017c592`.

    Raises:
        InvalidField: A value is out of bounds, or there is no secret of 16 characters or more.
    """
    fields.whole("account_id", account_id, low=1, high=fields.MAX_ID)
    if expires_at is not None and expires_at.tzinfo is None:
        raise InvalidField("expires_at", "must have a time zone")
    if secret is None:
        secret = os.environ.get(SECRETS, "").partition(",")[0].strip()
    if len(secret) < MIN_SECRET_CHARACTERS:
        raise InvalidField(
            "secret", f"must have {MIN_SECRET_CHARACTERS} characters or more; set {SECRETS}"
        )
    expiry = int(expires_at.timestamp()) if expires_at else 0
    return f"acc_{account_id}_{expiry}_{_mac(secret, account_id, expiry)}"


def read_reference(
    reference: str, *, secrets: Iterable[str], opened_at: dt.datetime | None
) -> int | None:
    """Read the account of a reference that one of these secrets signed; else None.

    Args:
        reference: The session's `client_reference_id`.
        secrets: The secrets, any of which may have signed it.
        opened_at: When Checkout was opened; a reference with an expiry needs it.
    """
    parts = _FORM.fullmatch(reference)
    if parts is None:
        return None
    account_id, expiry, mac = int(parts[1]), int(parts[2]), parts[3]
    # All secrets are tried, so that the time does not tell which one fits.
    fits = [hmac.compare_digest(_mac(secret, account_id, expiry), mac) for secret in secrets]
    is_late = expiry > 0 and (opened_at is None or opened_at.timestamp() > expiry)
    is_id = account_id <= fields.MAX_ID
    return account_id if any(fits) and not is_late and is_id else None


def named_account(reference: str) -> int | None:
    """Read the account that a reference names, whoever wrote it; None if it names none."""
    parts = _FORM.fullmatch(reference)
    if parts is None and not _BARE.fullmatch(reference):
        return None
    account_id = int(parts[1] if parts else reference)
    return account_id if account_id <= fields.MAX_ID else None


def _mac(secret: str, account_id: int, expiry: int) -> str:
    text = f"billing checkout reference 1:{account_id}:{expiry}"
    digest = hmac.new(secret.encode(), text.encode(), hashlib.sha256)
    return digest.hexdigest()[:_MAC_CHARACTERS]
