"""Moved: see `billing.postgres.sql`."""

from billing.postgres.sql import (
    binaries,
    flags,
    numbers,
    objects,
    texts,
)
from billing.postgres.sql import (
    times as moments,
)

__all__ = ["binaries", "flags", "moments", "numbers", "objects", "texts"]
