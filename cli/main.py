"""The ``extents`` command. A subcommand is imported only when it runs, so ``--help`` is quick and the coordinator never loads torch."""

import importlib
import importlib.util
import logging
import sys
from typing import Final

import click

from core.errors import ExtentsError

GROUPS: Final = {
    "One film": {
        "find": ("cli.film.find", "Print the times of a film's captions."),
        "encode": ("cli.film.encode", "Cut a video into cropped chunks."),
        "predict": ("cli.film.predict", "Run the inference on a local folder."),
        "show": ("cli.film.show", "Print what a run database holds."),
    },
    "The service": {
        "worker": ("cli.service.worker", "Run a coordinator or a GPU worker."),
        "submit": ("cli.service.submit", "Publish video.encoded for a stored video."),
        "topics": ("cli.service.topics", "Create the service's topics, or check them."),
        "doctor": ("cli.service.doctor", "Check every dependency, and say how to fix it."),
    },
    "Operating it": {
        "models": ("cli.operations.models", "Keep the models that runs may name."),
        "dead-letters": ("cli.operations.dead_letters", "List, redrive or discard records that could not be handled."),
    },
    "Developing": {
        "demo": ("cli.developing.demo", "Run the main job on this machine, from film to run database."),
        "dev": ("cli.developing.dev", "Start and stop the embedded stack."),
    },
}
"""Module and summary of each command, by group. Each module has a ``command``. The listing imports none of them."""

COMMANDS: Final = {name: entry for group in GROUPS.values() for name, entry in group.items()}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name, (module, _) in COMMANDS.items() if importlib.util.find_spec(module)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, group in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name, summary) for name, (_, summary) in group.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="extents")
def cli() -> None:
    """Finds where every burnt-in caption of a video starts and ends."""


def main() -> None:
    """Run the command. An error of ours ends in one message and status 1; any other is a bug and shows its traceback."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it logs every failed connection; workers set their own level
    try:
        cli()
    except ExtentsError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
