"""Idempotency keys that sort by time."""

import secrets
import time
import uuid


def new_key() -> str:
    """Make an idempotency key: a UUID of version 7 (RFC 9562, section 5.7).

    It has 48 bits of milliseconds and 74 random bits. Keys that grow with time keep the worker's
    index of keys fast at any size. Make one for each piece of work, store it with the work, and
    send the same one on every retry.

    Returns:
        The key as text, such as `019a0c4e-7a51-7c3b-9d1e-2f60a4b8c7d5`.
    """
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & (2**48 - 1)) << 80 | 7 << 76 | 2 << 62
    value |= secrets.randbits(12) << 64 | secrets.randbits(62)
    return str(uuid.UUID(int=value))
