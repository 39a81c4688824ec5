"""The `billing` command: one group per topic, loaded by name so that help stays quick."""

import contextlib
import importlib
import os
from typing import Any

import click

from devstack.errors import StackError
from devstack.folder import DataFolder, default_folder
from devstack.stack import outside_urls, read_record
from worker import logs
from worker.settings import BadSettings

#: The sentence of `billing --help` for each command, which is shown without importing it.
COMMANDS: dict[str, str] = {
    "accounts": "Look at accounts.",
    "alive": "Exit 0 if a worker has shown a sign of life of late, else 1.",
    "allow-app": "Let the main app's database ROLE leave debits and place holds.",
    "audit": "Check every promise of the books; exit code 1 if one is broken.",
    "credits": "Renew, expire and repair credits, as beat does.",
    "dead-letters": "List, replay or drop messages that could not be handled.",
    "demo": "Start everything, do the worker's five jobs once, and show what became of each.",
    "dunning": "List missing payments, and stop asking for one.",
    "limits": "List accounts with more sites, sites with sectors, or users than their plan allows.",
    "migrate": "Create or complete the tables.",
    "outbox": "List, replay or drop events for the main app.",
    "preflight": "Look whether a worker could run here; exit 1 if not.",
    "relay": "Take Stripe's webhooks and hand them to the worker, until Ctrl-C.",
    "retention": "List deleted accounts whose time is over, and close them for good.",
    "run": "Run everything on this machine until Ctrl-C.",
    "samples": "Sample plans and accounts, for a database of our own.",
    "stack": "Run the embedded Postgres and Redis in the background.",
    "statements": "Bank statements: read files, and import them.",
    "status": "Show servers, workers, queues and due work; exit 1 if something is down.",
    "stripe": "Look at Stripe's events and objects, and mend; say what prices and customers mean.",
    "transfers": "Look at money that came by bank, and decide what rules may not.",
    "trials": "List, extend, restore and end trials.",
}
#: Where a command stands whose module is not named like it.
MODULES = {
    "statements": "bank.statements",
    "stripe": "stripe.events",
    "transfers": "bank.transfers",
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
        name = cmd_name.replace("-", "_")
        module = importlib.import_module(f"cli.{MODULES.get(name, name)}")
        command: Any = getattr(module, name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Each with its sentence, and nothing imported."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name]) for name in self.list_commands(ctx)])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; an operator wants the sentence, not the traceback."""
        try:
            return super().invoke(ctx)
        except BadSettings as error:
            raise click.ClickException(NO_SERVERS if error.no_servers else str(error)) from None
        except Exception as error:
            from cli.server_words import in_a_sentence  # what it imports, the command has already

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
