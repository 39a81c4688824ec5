"""The `billing` command. Each topic is a module that is imported only when it is used."""

import contextlib
import importlib
import io
import os
import sys
from typing import Any

import click

from billing.errors import BillingError
from billing.printable import printable
from devstack.errors import StackError
from devstack.folder import DataFolder, default_folder
from devstack.stack import outside_urls, read_record
from worker import logs
from worker.settings import BadSettings

#: The line of `billing --help` for each command, shown without importing the command.
COMMANDS: dict[str, str] = {
    "accounts": "Show an account, explain its balance, or change its status.",
    "alive": "Exit 0 if a worker was alive within the last minute, else 1.",
    "allow-app": "Let the main app's database ROLE write to the inbox and place holds.",
    "audit": "Check every invariant of the ledger; exit 1 if one is violated.",
    "closing": "List deleted accounts that can't be restored any more, and close them for good.",
    "credits": "Renew, expire or repair credits now, as beat does.",
    "dead-letters": "List, replay or drop messages that could not be handled.",
    "demo": "Start everything, do the worker's five jobs once, and show the outcome of each.",
    "dunning": "List missing payments, show the schedule, or write one off.",
    "limits": "List accounts with more sites, sites with sectors, or users than their plan allows.",
    "migrate": "Create or upgrade our tables.",
    "outbox": "List, replay or drop events for the main app.",
    "preflight": "Check whether a worker can run here; exit 1 if not.",
    "relay": "Receive Stripe's webhooks and hand them to the worker, until Ctrl-C.",
    "roles": "Make and check the database roles: owner, workers, apps and readers.",
    "run": "Run everything on this machine until Ctrl-C.",
    "samples": "Load sample plans and accounts into an empty database.",
    "stack": "Run the embedded Postgres and Redis in the background.",
    "statements": "Read, import and release bank statements.",
    "status": "Show servers, workers, queues and due work; exit 1 if something is down.",
    "stripe": "Show and repair Stripe's events and objects; link prices and customers.",
    "transfers": "Review bank transfers that no rule could decide.",
    "trials": "List, extend, restore and end trials.",
}
#: Old names of commands, which still work.
ALIASES = {"retention": "closing"}
#: The modules that are not named like their command.
MODULES = {
    "statements": "bank.statements",
    "stripe": "stripe.events",
    "transfers": "bank.transfers",
}
#: Commands that start their own servers, or need none.
WITHOUT_SERVERS = frozenset({"alive", "demo", "run", "stack"})
NO_SERVERS = "Set DATABASE_URL and REDIS_URL, or start servers with `billing stack start`."


class Lazy(click.Group):
    """A group that imports a command only when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the names of the commands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command by its name or its old name."""
        if cmd_name in ALIASES:
            new_name = ALIASES[cmd_name]
            click.echo(f"`billing {cmd_name}` is deprecated: use `billing {new_name}`.", err=True)
            cmd_name = new_name
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        module = importlib.import_module(f"cli.{MODULES.get(name, name)}")
        command: Any = getattr(module, name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a line for each command, without importing it."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name]) for name in self.list_commands(ctx)])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command. Expected errors become a sentence instead of a traceback."""
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            error.message = printable(error.message, keep="\n\t")  # type: ignore[misc]
            raise
        except BadSettings as error:
            raise click.ClickException(NO_SERVERS if error.no_servers else str(error)) from None
        except BillingError as error:
            raise click.ClickException(printable(f"{error.name}: {error}")) from None
        except StackError as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:
            if error.filename is None:
                raise
            text = printable(str(error.filename))
            raise click.ClickException(f"{text}: {error.strerror}.") from None
        except Exception as error:
            # Their imports are slow.
            from cli.typed_values import sentence_of as sentence_of_value
            from worker.server_errors import sentence_of

            if sentence := sentence_of(error) or sentence_of_value(error):
                raise click.ClickException(printable(sentence)) from None
            raise


@click.command(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def main(context: click.Context) -> None:
    """Operate the billing worker.

    It uses the servers of DATABASE_URL and REDIS_URL. Without these variables it uses those of
    `billing run` or `billing stack start` in the data folder ($BILLING_DATA, else .data).
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that can't show every letter
            stream.reconfigure(errors="backslashreplace")
    if context.invoked_subcommand in WITHOUT_SERVERS:
        return
    _find_servers()
    with contextlib.suppress(BadSettings):  # a command that needs them reports it
        logs.configure("WARNING")


def _find_servers() -> None:
    """Use the data folder's servers, unless the environment names others."""
    folder = DataFolder(default_folder())
    if outside_urls(folder) is not None or (record := read_record(folder)) is None:
        return
    named = os.environ.get("DATABASE_URL", f"/{record.database}")
    if named.rpartition("/")[2] == record.database:  # else another database of these servers
        os.environ.update(record.urls(folder).environment())


if __name__ == "__main__":
    main()
