"""The ``extents`` command. Subcommands are imported only when they are run, so that ``--help`` is quick and the
coordinator never loads torch."""

import importlib
import importlib.util
import logging
import sys
from typing import Final

import click

from core.errors import ExtentsError

COMMANDS: Final = {
    "demo": "Run the main job on this machine, from sample to run database.",
    "find": "Print the times of a film's captions.",
    "predict": "Run the inference on a local folder.",
    "show": "Print what a run database holds.",
    "encode": "Cut a video into cropped chunks.",
    "submit": "Publish video.encoded for a stored video.",
    "models": "Keep the models that runs may name.",
    "dead-letters": "Look at records set aside for good; redrive or discard them.",
    "worker": "Run a coordinator or a GPU worker.",
    "topics": "Create the service's topics, or check them.",
    "doctor": "Check every dependency, and say how to mend it.",
    "dev": "Start and stop the embedded stack.",
}
"""Each is ``command`` in ``cli/<name>.py``. The summaries stand here so that the listing imports none of them."""


def _module(command: str) -> str:
    return command.replace("-", "_")


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in COMMANDS if importlib.util.find_spec(f"cli.{_module(name)}")]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = importlib.import_module(f"cli.{_module(cmd_name)}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name]) for name in self.list_commands(ctx)])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="extents")
def cli() -> None:
    """Finds where every burnt-in caption of a video starts and ends."""


def main() -> None:
    """Errors of our own end in one message and status 1; anything else is a bug and shows its traceback."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it tells of every failed connection; workers set their own level
    try:
        cli()
    except ExtentsError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
