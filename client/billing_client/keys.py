"""Keys that sort by time, made once at the source."""

import secrets
import time
import uuid


def new_key() -> str:
    """A UUID of version 7 (RFC 9562, 5.7): 48 bits of milliseconds, then 74 random bits.

    Keys that grow with time keep the worker's index of keys fast however large it gets. Make one
    per piece of work, store it with the work, and send the same one on every retry.
    """
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & (2**48 - 1)) << 80 | 7 << 76 | 2 << 62
    value |= secrets.randbits(12) << 64 | secrets.randbits(62)
    return str(uuid.UUID(int=value))
