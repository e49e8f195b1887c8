"""A command of commands, such as ``headrace serving``."""

import click

_WHOLE = 1000


class Group(click.Group):
    """A group that lists each command with its whole first sentence; click's own cuts it where the line ends."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list, wrapped to the terminal."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, one.get_short_help_str(_WHOLE)) for name, one in found if one is not None])
