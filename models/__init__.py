"""Tables, grouped by owner: `host` has the main app's, every other module ours."""

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
