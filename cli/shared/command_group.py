"""A group of commands that suggests the nearest one when a name is mistyped."""

from difflib import get_close_matches

import click


class CommandGroup(click.Group):
    """``click.Group``, with a suggestion in the message about an unknown command."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = get_close_matches(args[0], self.list_commands(ctx), n=2, cutoff=0.5)
            if near and not args[0].startswith("-"):
                error.message = f"No such command {args[0]!r}. Did you mean {' or '.join(repr(name) for name in near)}?"
            raise
