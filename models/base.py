"""The base class of all tables, and the names of their constraints."""

from typing import ClassVar

from sqlalchemy import MetaData
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.orm import DeclarativeBase

#: The schema of our tables; the main app's stay in `public`.
SCHEMA = "billing"

#: The column type of every time: UTC, with a time zone.
Moment = TIMESTAMP(timezone=True)

metadata = MetaData(
    naming_convention={
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "pk": "%(table_name)s_pkey",
    }
)


class Base(DeclarativeBase):
    """The base class of our tables and of the main app's, which share one metadata."""

    metadata = metadata
    type_annotation_map: ClassVar = {
        dict[str, object]: JSONB(none_as_null=True),
        list[object]: JSONB(none_as_null=True),
    }
