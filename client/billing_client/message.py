"""What every message has in common: it knows its task, and turns into its arguments and back."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import Any, ClassVar, Self

from billing_client.errors import MissingField, UnknownField


@dataclass(frozen=True, slots=True)
class Message:
    """What every message has in common."""

    TASK: ClassVar[str]
    QUEUE: ClassVar[str]

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, object]) -> Self:
        """The message of these keyword arguments.

        Raises MissingField, UnknownField or InvalidField.
        """
        kind: Any = cls
        known, needed = _fields_of(kind)
        if not known.issuperset(arguments):
            unknown = next(name for name in arguments if name not in known)
            raise UnknownField(str(unknown)[:50], f"{cls.TASK} knows no such field")
        for name in needed:
            if name not in arguments:
                raise MissingField(name, f"{cls.TASK} needs it")
        given: Mapping[str, Any] = arguments
        return cls(**given)

    def arguments(self) -> dict[str, object]:
        """The keyword arguments of the task, JSON-safe; what is not set is left out."""
        shown: dict[str, object] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                shown[field.name] = value.isoformat() if isinstance(value, dt.datetime) else value
        return shown

    def _set(self, **checked: object) -> None:
        for name, value in checked.items():
            object.__setattr__(self, name, value)


@cache
def _fields_of(kind: Any) -> tuple[frozenset[str], tuple[str, ...]]:
    """The names of all fields, and of those without a default."""
    all_fields = fields(kind)
    needed = [field.name for field in all_fields if field.default is MISSING]
    return frozenset([field.name for field in all_fields]), tuple(needed)
