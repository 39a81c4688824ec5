"""One metadata for every table, with constraint names that migrations can rely on."""

from typing import ClassVar

from sqlalchemy import MetaData
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.orm import DeclarativeBase

#: Our tables live here; the main app's stay in `public`.
SCHEMA = "billing"

#: Time is UTC with a zone, always.
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
    """Every mapped class: ours and, so that one metadata knows all, the main app's."""

    metadata = metadata
    type_annotation_map: ClassVar = {
        dict[str, object]: JSONB(none_as_null=True),
        list[object]: JSONB(none_as_null=True),
    }
