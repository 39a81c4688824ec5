"""What can be wrong with a message, as named errors.

InvalidMessage
├── MissingField     a field that must be there is not
├── UnknownField     a field that nobody knows
└── InvalidField     a field whose value is out of bounds
"""


class InvalidMessage(ValueError):
    """The message can't be what its sender meant. Carries the field and what is wrong with it."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(field, problem)
        self.field = field
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.field}: {self.problem}"


class MissingField(InvalidMessage):
    """A field that must be there is not."""


class UnknownField(InvalidMessage):
    """A field that nobody knows; a typing error would otherwise pass unseen."""


class InvalidField(InvalidMessage):
    """A field whose value is out of bounds."""
