"""The base classes of all tables, the types of their columns, and the names of constraints."""

import datetime as dt
import uuid
from typing import Annotated, Any, ClassVar

from sqlalchemy import BigInteger, Identity, Index, MetaData, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP, UUID
from sqlalchemy.orm import DeclarativeBase, mapped_column

#: The schema of our tables; the main app's stay in `public`.
SCHEMA = "billing"

#: The column types of a 64-bit number, of an id that Postgres gives, of another row's id that
#: is (a part of) the primary key, and of a number that begins at 0.
BigInt = Annotated[int, mapped_column(BigInteger)]
NewId = Annotated[int, mapped_column(BigInteger, Identity(), primary_key=True)]
OwnerId = Annotated[int, mapped_column(BigInteger, primary_key=True, autoincrement=False)]
Counter = Annotated[int, mapped_column(server_default=text("0"))]

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
        str: Text,
        dt.datetime: TIMESTAMP(timezone=True),  # every time is in UTC
        uuid.UUID: UUID,
        dict[str, object]: JSONB(none_as_null=True),
        list[object]: JSONB(none_as_null=True),
    }

    def __init_subclass__(cls, *, table: str = "", **options: Any) -> None:
        if table:
            cls.__tablename__ = table
        super().__init_subclass__(**options)


class Ours(Base):
    """The base class of our tables, in our schema."""

    __abstract__ = True

    @classmethod
    def __table_cls__(cls, *args: Any, **options: Any) -> Table:
        return Table(*args, schema=SCHEMA, **options)


def partial_index(name: str, *columns: str, where: str, **options: Any) -> Index:
    """Make an index of the rows that fulfil a condition."""
    return Index(name, *columns, postgresql_where=text(where), **options)
