"""Settings, from worker/settings.py."""

from pydantic.fields import FieldInfo

from docs.generate.markdown import code, table
from worker.settings import Settings


def block() -> str:
    """Each variable with its default and the text under its field."""
    rows = [
        (code(_variable(name)), _default(field), field.description or "")
        for name, field in Settings.model_fields.items()
    ]
    return table("variable | default | meaning", rows)


def _variable(name: str) -> str:
    bare = name in {"database_url", "redis_url"}
    return name.upper() if bare else f"BILLING_{name.upper()}"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if isinstance(field.default, bool):
        return code(str(field.default).lower())
    return "not set" if field.default is None else code(field.default)
