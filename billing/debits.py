"""Debits of AI operations: the batch act, of which a single debit is the batch of one."""

from collections.abc import Sequence

from billing.context import Context
from billing.usage import post
from billing.usage.post import Answer
from billing_client.messages import Debit


def apply(ctx: Context, debits: Sequence[Debit]) -> list[Answer]:
    """Take each debit from its account, in the order given; one answer for each.

    Never raises for what is wrong with one debit: see `billing.usage.post.apply`.
    """
    return post.apply(ctx, debits)
