"""`billing preflight`: may a worker run here?"""

import click

from cli.screen import console, json_option, show_json, table
from worker import preflight as worker_preflight

_COLOURS = {"ok": "green", "warning": "yellow", "problem": "red", "unreachable": "red"}


@click.command()
@json_option
def preflight(as_json: bool) -> None:
    """Look at settings, servers and the main app's tables; exit 1 if a worker could not run."""
    facts = worker_preflight.check()
    fine = all(fact.level in {"ok", "warning"} for fact in facts)
    if as_json:
        show_json({"fine": fine, "facts": [fact._asdict() for fact in facts]})
    else:
        table("preflight", ("subject", "level", "what"), facts)
        console.print(
            "a worker may run here" if fine else "a worker must not run here",
            style=_COLOURS["ok" if fine else "problem"],
        )
    if not fine:
        raise SystemExit(1)
