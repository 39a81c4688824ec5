"""Events that the main app receives, from the client's catalogue."""

from dataclasses import fields
from typing import get_type_hints

from billing_client.events import CATALOGUE
from docs.generate.markdown import code, plain_type, prose, table


def block() -> str:
    """Each type of event, with its occasion and the class of its data."""
    rows = [
        (code(name), kind.when, f"[`{kind.carries.__name__}`](#{kind.carries.__name__.lower()})")
        for name, kind in CATALOGUE.items()
    ]
    return table("event | when | data", rows)


def data_block() -> str:
    """A section for each class of data, with its fields."""
    classes = dict.fromkeys(kind.carries for kind in CATALOGUE.values())
    return "\n\n".join(_section(carried) for carried in classes)


def _section(carried: type) -> str:
    hints = get_type_hints(carried)
    rows = [(code(field.name), plain_type(hints[field.name])) for field in fields(carried)]
    return "\n\n".join([f"### {carried.__name__}", prose(carried), table("field | type", rows)])
