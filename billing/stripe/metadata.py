"""What our metadata on Stripe's objects says: whose one is, which plan, how many credits."""

from billing.stripe import json_fields as read
from billing.stripe.errors import BadObject
from billing.stripe.json_fields import JSON

#: Metadata of ours, on a price or a product: which plan it is, or how many credits a unit brings.
PLAN_METADATA, CREDITS_METADATA = "plan", "credits"
#: Metadata of ours, on any object: whose it is.
ACCOUNT_METADATA = "account_id"
MAX_ACCOUNT_ID = 2**63 - 1


def account_hint(*sources: JSON) -> int | None:
    """The account that the metadata of one of these names; what is no number names none."""
    for source in sources:
        named = read.inside(source, "metadata").get(ACCOUNT_METADATA)
        if (found := account_number(named)) is not None:
            return found
    return None


def account_number(named: object) -> int | None:
    """An account's id out of what people write into metadata; None if it is none."""
    text = str(named) if isinstance(named, str | int) and not isinstance(named, bool) else ""
    is_number = text.isascii() and text.isdigit()
    return int(text) if is_number and 0 < int(text[:20]) <= MAX_ACCOUNT_ID else None


def credits_in(metadata: JSON) -> int | None:
    """Credits that metadata promises. Raises BadObject for what is no whole number above 0."""
    named = metadata.get(CREDITS_METADATA)
    if named is None or named == "":
        return None
    text = str(named)
    if not (text.isascii() and text.isdigit()) or len(text) > 9 or int(text) == 0:
        raise BadObject(field=f"metadata.{CREDITS_METADATA}")
    return int(text)
