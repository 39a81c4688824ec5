"""The group of a topic's commands."""

import click


class Topic(click.Group):
    """A group whose help shows the first sentence of each command in full, without dots."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a line for each command that is not hidden, wrapped instead of cut off."""
        commands = [self.commands[name] for name in self.list_commands(ctx)]
        lines = [
            (command.name or "", command.get_short_help_str(limit=1000))
            for command in commands
            if not command.hidden
        ]
        with formatter.section("Commands"):
            formatter.write_dl(lines)
