"""Tables, grouped by owner: `host` is the main app's, the rest is ours."""

from models import (
    accounts,
    bank,
    calendar,
    credits,
    host,
    life,
    operations,
    purchases,
    stripe,
    transfers,
)
from models.base import SCHEMA, Base, metadata

__all__ = [
    "SCHEMA",
    "Base",
    "accounts",
    "bank",
    "calendar",
    "credits",
    "host",
    "life",
    "metadata",
    "operations",
    "purchases",
    "stripe",
    "transfers",
]
