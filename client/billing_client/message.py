"""The base class of messages: the task's name and queue, and conversion from and to arguments."""

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from types import NoneType
from typing import Any, ClassVar, Self, dataclass_transform, get_args, get_type_hints

from billing_client.errors import MissingField, UnknownField


@dataclass_transform(frozen_default=True)
@dataclass(frozen=True)
class Message:
    """The base class of messages: frozen data classes that check their values when they are made.

    Attributes:
        TASK: The name of the Celery task that takes the message.
        QUEUE: The queue that it is sent to.
    """

    TASK: ClassVar[str]
    QUEUE: ClassVar[str]

    def __init_subclass__(cls, *, task: str, queue: str = "") -> None:
        cls.TASK, cls.QUEUE = task, queue or cls.QUEUE
        dataclass(frozen=True)(cls)

    def __post_init__(self) -> None:
        message_class: Any = type(self)
        for name, check, is_optional in _checks_of(message_class):
            value = getattr(self, name)
            if value is not None or not is_optional:
                object.__setattr__(self, name, check(name, value))

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, object]) -> Self:
        """Build the message from a task's keyword arguments.

        Args:
            arguments: The keyword arguments, as JSON brought them.

        Raises:
            MissingField: A required field is not there.
            UnknownField: A field is none of the message's.
            InvalidField: A value is out of bounds.
        """
        message_class: Any = cls
        names, required_names = _fields_of(message_class)
        if not names.issuperset(arguments):
            unknown = next(name for name in arguments if name not in names)
            raise UnknownField(str(unknown)[:50], f"is not a field of {cls.TASK}")
        for name in required_names:
            if name not in arguments:
                raise MissingField(name, f"is required by {cls.TASK}")
        values: Mapping[str, Any] = arguments
        return cls(**values)

    def arguments(self) -> dict[str, object]:
        """Return the task's keyword arguments, safe for JSON, without the fields that are None."""
        arguments: dict[str, object] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                is_time = isinstance(value, dt.datetime)
                arguments[field.name] = value.isoformat() if is_time else value
        return arguments


@cache
def _fields_of(message_class: Any) -> tuple[frozenset[str], tuple[str, ...]]:
    """Return the names of all fields, and of those without a default."""
    all_fields = fields(message_class)
    required_names = [field.name for field in all_fields if field.default is MISSING]
    return frozenset([field.name for field in all_fields]), tuple(required_names)


@cache
def _checks_of(message_class: Any) -> list[tuple[str, Callable[[str, object], object], bool]]:
    """Return for each field its name, the check that its type carries, and whether None passes."""
    hints = get_type_hints(message_class, include_extras=True)
    checks = []
    for field in fields(message_class):
        options = get_args(hints[field.name])
        is_optional = NoneType in options
        kind = options[0] if is_optional else hints[field.name]
        checks += [(field.name, check, is_optional) for check in getattr(kind, "__metadata__", ())]
    return checks
