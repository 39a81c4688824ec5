"""The `billing` command: one group per topic, loaded by name so that help stays quick."""

import contextlib
import importlib
import os
from typing import Any

import click

from worker import logs
from worker.settings import BadSettings
from worker.stack.errors import StackError
from worker.stack.folder import DataFolder, default_folder
from worker.stack.stack import outside_urls, read_record

#: command name -> (module in ops, attribute)
COMMANDS: dict[str, tuple[str, str]] = {
    "accounts": ("ops.accounts", "accounts"),
    "alive": ("ops.alive", "alive"),
    "allow-app": ("ops.allow_app", "allow_app"),
    "audit": ("ops.audit", "audit"),
    "credits": ("ops.credits", "credits"),
    "dead-letters": ("ops.dead_letters", "dead_letters"),
    "demo": ("ops.demo", "demo"),
    "dunning": ("ops.dunning", "dunning"),
    "limits": ("ops.limits", "limits"),
    "migrate": ("ops.migrate", "migrate"),
    "outbox": ("ops.outbox", "outbox"),
    "preflight": ("ops.preflight", "preflight"),
    "relay": ("ops.relay", "relay"),
    "retention": ("ops.retention", "retention"),
    "run": ("ops.run", "run"),
    "samples": ("ops.samples", "samples"),
    "stack": ("ops.stack", "stack"),
    "statements": ("ops.statements", "statements"),
    "status": ("ops.status", "status"),
    "stripe": ("ops.stripe", "stripe"),
    "transfers": ("ops.transfers", "transfers"),
    "trials": ("ops.trials", "trials"),
}
#: These bring their own servers, or need none.
WITHOUT_SERVERS = frozenset({"alive", "demo", "run", "stack"})
NO_SERVERS = "set DATABASE_URL and REDIS_URL, or start servers with `billing stack start`"


class Lazy(click.Group):
    """A group that imports a topic only when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command's name."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported; None if there is no such one."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name]
        command: Any = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; an operator wants the sentence, not the traceback."""
        try:
            return super().invoke(ctx)
        except BadSettings as error:
            raise click.ClickException(NO_SERVERS if error.no_servers else str(error)) from None
        except Exception as error:
            from ops.server_words import in_a_sentence  # what it imports, the command has already

            if words := in_a_sentence(error):
                raise click.ClickException(words) from None
            raise


@click.command(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def main(context: click.Context) -> None:
    """Operate the billing worker.

    The servers are those of DATABASE_URL and REDIS_URL; without these, the ones of `billing run` or
    `billing stack start` in the data folder ($BILLING_DATA, else .data).
    """
    if context.invoked_subcommand in WITHOUT_SERVERS:
        return
    _find_servers()
    with contextlib.suppress(BadSettings):  # a command that needs them will say so
        logs.configure("WARNING")


def _find_servers() -> None:
    """Point the settings at the data folder's own servers, unless others are named."""
    folder = DataFolder(default_folder())
    try:
        if outside_urls(folder) is not None or (record := read_record(folder)) is None:
            return
        named = os.environ.get("DATABASE_URL", f"/{record.database}")
        if named.rpartition("/")[2] == record.database:  # else another database of these servers
            os.environ.update(record.urls(folder).environment())
    except StackError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
