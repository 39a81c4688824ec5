"""Commands, from the command line itself."""

from collections.abc import Iterator

import click

from cli.main import COMMANDS, main
from docs.generate.markdown import code, prose, table


def block() -> str:
    """A section for each command of `billing`, and within it one for each subcommand."""
    sections: list[str] = []
    with click.Context(main, info_name="billing") as context:
        for name in sorted(COMMANDS):
            command = main.get_command(context, name)
            assert command is not None
            sections += _sections(command, context, name, depth=3)
    return "\n\n".join(sections)


def _sections(
    command: click.Command, parent: click.Context, name: str, depth: int
) -> Iterator[str]:
    with click.Context(command, parent=parent, info_name=name) as context:
        yield _section(command, context, depth)
        if isinstance(command, click.Group):
            for inner in command.list_commands(context):
                subcommand = command.get_command(context, inner)
                assert subcommand is not None
                yield from _sections(subcommand, context, inner, depth + 1)


def _section(command: click.Command, context: click.Context, depth: int) -> str:
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    parts = [f"{'#' * depth} `{context.command_path}`", _help(command)]
    if not isinstance(command, click.Group):
        parts.append(f"```\n{usage}\n```")
    options = [
        _option(option)
        for option in command.params
        if isinstance(option, click.Option) and not option.hidden
    ]
    if options:
        parts.append(table("option | meaning", options))
    return "\n\n".join(parts)


def _help(command: click.Command) -> str:
    return (command.help and prose(command.callback)) or command.get_short_help_str(limit=300)


def _option(option: click.Option) -> tuple[str, str]:
    names = ", ".join([*option.opts, *option.secondary_opts])
    takes = "" if option.is_flag else f" {option.make_metavar(click.Context(main))}"
    required = " Required." if option.required else ""
    return code(names + takes), f"{option.help or ''}{required}"
