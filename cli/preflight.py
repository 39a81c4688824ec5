"""`billing preflight`: check whether a worker can run here."""

import click

from cli.screen import console, in_json, json_option, table
from worker import preflight as worker_preflight

_COLOURS = {"ok": "green", "warning": "yellow", "problem": "red", "unreachable": "red"}


@click.command()
@json_option
def preflight() -> None:
    """Check settings, servers and the main app's tables; exit 1 if a worker can't run here."""
    facts = worker_preflight.check()
    is_ok = all(fact.level in {"ok", "warning"} for fact in facts)
    if not in_json({"fine": is_ok, "facts": [fact._asdict() for fact in facts]}):
        table("preflight", ("subject", "level", "result"), facts)
        console.print(
            "A worker can run here." if is_ok else "A worker can't run here.",
            style=_COLOURS["ok" if is_ok else "problem"],
        )
    if not is_ok:
        raise SystemExit(1)
