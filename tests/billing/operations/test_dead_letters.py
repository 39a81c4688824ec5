"""A message that could not be handled is kept once, whole, and leaves the list by a person's hand."""

import pytest

from billing.operations import dead_letters
from billing.operations.dead_letters import DeadMessage, UnknownDeadLetter
from tests.story import NOON
from worker.database import transaction

LETTER = DeadMessage("m-1", "Malformed", "no body", "debits", "credits.debit", {"key": "k"})


def keep(*letters):
    with transaction() as ctx:
        dead_letters.keep(ctx.at(NOON), letters)


def open_letters():
    with transaction() as ctx:
        return dead_letters.list_open(ctx.session, limit=10)


def close(letter_id, state="dropped"):
    with transaction() as ctx:
        return dead_letters.close(ctx.by("operator:ann"), letter_id, state=state)


def test_a_letter_keeps_what_came_and_why_it_died(database):
    keep(LETTER)

    (letter,) = open_letters()
    assert (letter.task, letter.arguments, letter.error, letter.reason) == (
        "credits.debit",
        {"key": "k"},
        "Malformed",
        "no body",
    )


def test_the_same_message_dying_twice_is_one_letter_with_two_attempts(database):
    keep(LETTER)
    keep(LETTER)

    (letter,) = open_letters()
    assert letter.attempts == 2


def test_a_dropped_letter_is_off_the_list_and_says_by_whom(database):
    keep(LETTER)
    (letter,) = open_letters()

    closed = close(letter.id)

    assert open_letters() == []
    assert (closed.state, closed.closed_by) == ("dropped", "operator:ann")


def test_a_replayed_letter_that_dies_again_is_open_again(database):
    keep(LETTER)
    (letter,) = open_letters()
    close(letter.id, "replayed")

    keep(LETTER)

    assert [again.id for again in open_letters()] == [letter.id]


def test_a_letter_is_closed_once(database):
    keep(LETTER)
    (letter,) = open_letters()
    close(letter.id)

    with pytest.raises(UnknownDeadLetter):
        close(letter.id)


def test_what_a_terminal_would_obey_is_blanked_in_the_reason(database):
    keep(DeadMessage("m-2", "Malformed", "a\x1b[31m\x00b", raw=b"\x00\xff"))

    (letter,) = open_letters()
    assert (letter.reason, letter.raw) == ("a [31m b", b"\x00\xff")
