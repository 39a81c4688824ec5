"""Lists that the code has: settings, events for the main app, status changes, dunning steps."""

from dataclasses import fields
from typing import get_type_hints

from pydantic.fields import FieldInfo

from billing.lifecycle import transitions
from billing.lifecycle.dunning.schedule import SCHEDULE
from billing_client.events import CATALOGUE
from docs.generate.markdown import code, plain_type, prose, table
from worker.settings import Settings


def settings_block() -> str:
    """Each variable with its default and the text under its field."""
    rows = []
    for name, field in Settings.model_fields.items():
        prefix = "" if name in {"database_url", "redis_url"} else "BILLING_"
        rows.append((code(prefix + name.upper()), _default(field), field.description or ""))
    return table("variable | default | meaning", rows)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if isinstance(field.default, bool):
        return code(str(field.default).lower())
    return "not set" if field.default is None else code(field.default)


def events_block() -> str:
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


def transitions_block() -> str:
    """Each change of status with its reasons and its event."""
    rows = [
        (step.status_from, step.status_to, ", ".join(sorted(step.reasons)), code(step.event))
        for step in transitions.TRANSITIONS
    ]
    return table("from | to | reasons | event", rows)


def reasons_block() -> str:
    """Each reason with the actors who may use it."""
    rows = [(reason, ", ".join(sorted(who))) for reason, who in sorted(transitions.WHO_MAY.items())]
    return table("reason | actors who may use it", rows)


def schedule_block() -> str:
    """The steps of dunning by day."""
    yes = {True: "yes", False: "no"}
    rows = [(str(s.day), s.action, yes[bool(s.card)], yes[bool(s.bank)]) for s in SCHEDULE]
    return table("day | action | card | bank", rows)
