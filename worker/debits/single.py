"""From messages to answers: what tasks and the debit reader do around the batch act."""

from collections.abc import Sequence

from billing.context import Context
from billing.operations import dead_letters
from billing.operations.dead_letters import Letter
from billing.usage import post
from billing.usage.post import Answer, Message
from worker.database import transaction


def apply_one(message: Message) -> dict[str, object]:
    """Do what one message asks, in a transaction of its own; returns the facts for the log.

    Raises the Rejected of a message that may be replayed once its cause is gone.
    """
    with transaction() as ctx:
        (answer,) = post.apply(ctx, [message])
    if answer.error is not None and answer.is_rejected:
        raise answer.error
    return {"outcome": answer.outcome, "is_repeat": answer.is_repeat}


def keep_rejected(ctx: Context, message_id: str, answers: Sequence[Answer]) -> int:
    """Keep what a message of many could not do, each as a letter that can be replayed alone."""
    letters = [
        rejected(f"{message_id}:{number}", answer)
        for number, answer in enumerate(answers)
        if answer.is_rejected
    ]
    dead_letters.keep(ctx, letters)
    return len(letters)


def rejected(message_id: str, answer: Answer) -> Letter:
    """The dead letter of a message whose answer was a Rejected."""
    assert answer.error is not None, "only an error makes a letter"
    return Letter(
        message_id=message_id,
        error=answer.error.name,
        reason=str(answer.error),
        queue=answer.message.QUEUE,
        task=answer.message.TASK,
        arguments=answer.message.arguments(),
    )
