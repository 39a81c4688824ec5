"""Errors of a message whose fields can't be right.

InvalidMessage
├── MissingField     a required field is not there
├── UnknownField     a field that the message does not have
└── InvalidField     a field whose value is out of bounds
"""


class InvalidMessage(ValueError):
    """A message that can't be what its sender meant.

    Its text is a sentence, such as "Field 'units' must be from 1 to 1000000, got 0."

    Attributes:
        field: The name of the field.
        problem: The rest of the sentence, without the full stop.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(field, problem)
        self.field = field
        self.problem = problem

    def __str__(self) -> str:
        return f"Field {self.field!r} {self.problem}."


class MissingField(InvalidMessage):
    """A required field is not there."""


class UnknownField(InvalidMessage):
    """A field that the message does not have, which may be a misspelt one."""


class InvalidField(InvalidMessage):
    """A field whose value is out of bounds."""
