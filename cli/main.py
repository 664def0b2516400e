"""The ``extents`` command. Subcommands are imported when they run, so that ``--help`` is fast and the coordinator never loads torch."""

import importlib
import logging
import signal
import sys
import traceback
from contextlib import nullcontext
from typing import Final

import click

from cli.shared.command_group import CommandGroup
from cli.shared.redacted_output import redacted_output
from core.errors import ExtentsError
from core.optional_parts import missing_part

GROUPS: Final = {
    "One film": {
        "find": ("cli.film.finding.find", "Find a film's captions: where, when, and what they say."),
        "crop": ("cli.film.finding.crop", "Find where a film's captions are."),
        "encode": ("cli.film.encoding.encode", "Cut a film into chunks of cropped frames."),
        "predict": ("cli.film.runs.predict", "Run inference on a local folder."),
        "evaluate": ("cli.film.evaluating.evaluate", "Measure checkpoints on a film whose captions are known."),
        "show": ("cli.film.runs.show", "Print the contents of a run database."),
        "report": ("cli.film.runs.report", "Write a run as one HTML file to look at."),
        "strips": ("cli.film.runs.strips", "Draw the frames around both ends of a caption."),
    },
    "The service": {
        "worker": ("cli.service.worker", "Run a coordinator or a GPU worker."),
        "submit": ("cli.service.submit", "Publish video.encoded for a stored video."),
        "topics": ("cli.service.topics", "Create the service's topics, or check them."),
        "ui": ("cli.service.ui", "Serve the live page on this machine."),
        "doctor": ("cli.service.doctor", "Check every dependency, and say how to fix problems."),
    },
    "Operating it": {
        "status": ("cli.operations.status", "Show workers, queues, outcomes and costs at a glance."),
        "jobs": ("cli.operations.requests.jobs", "List, show and cancel jobs."),
        "runs": ("cli.operations.runs.runs", "List, fetch and delete finished runs."),
        "rejections": ("cli.operations.requests.rejections", "List, count and acknowledge rejected requests."),
        "why": ("cli.operations.why", "Show everything known about a video, in chronological order."),
        "replay": ("cli.operations.replays.replay", "Process videos again, in bulk, by a plan."),
        "compare": ("cli.operations.comparing.compare", "Compare two runs, or two models' runs of many videos."),
        "quote": ("cli.operations.quote", "Estimate what a video will cost."),
        "usage": ("cli.operations.usage", "Show what was computed and what it cost."),
        "verify": ("cli.operations.runs.verify", "Check finished runs against their rows and their model."),
        "rebuild-registry": ("cli.operations.runs.rebuild_registry", "Restore lost rows from the store and the topics."),
        "cleanup": ("cli.operations.runs.cleanup", "Delete superseded and old runs."),
        "purge": ("cli.operations.purge", "Delete everything of a video or tenant, and refuse it from then on."),
        "models": ("cli.operations.models.models", "Manage the models that runs may use."),
        "dead-letters": ("cli.operations.requests.dead_letters", "List, redrive or discard records that could not be processed."),
        "migrations": ("cli.operations.migrations", "Print the database's migrations, for any schema."),
    },
    "Developing": {
        "demo": ("cli.developing.demo", "Run a captioned film through the service on this machine."),
        "dev": ("cli.developing.dev", "Start and stop the embedded stack."),
    },
}
"""Module and summary of each command, by group. Each module has a ``command``. Listing the commands imports none of them."""

INTERRUPTED: Final = 128 + signal.SIGINT

COMMANDS: Final = {name: entry for group in GROUPS.values() for name, entry in group.items()}


class _LazyGroup(CommandGroup):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        _log_to_standard_error()
        command: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, group in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name, summary) for name, (_, summary) in group.items()])


def _log_to_standard_error() -> None:
    """Log only warnings, to standard error; structlog's default is everything, to standard output. Workers configure their own logging."""
    import structlog  # slow, so it is not imported for the listing of the commands

    if not structlog.is_configured():
        structlog.configure(
            wrapper_class=structlog.make_filtering_bound_logger("warning"), logger_factory=lambda *_: structlog.PrintLogger(sys.stderr)
        )


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="extents")
def cli() -> None:
    """Finds where every burnt-in caption of a video starts and ends."""


def main() -> None:
    """Run the command, and exit with its status.

    Our own errors print one message and exit with status 1; any other is a bug and shows its traceback. Ctrl-C exits
    quietly with status 130, as the shell has it.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it logs every failed connection; workers set their own level
    # The embedded stack's credentials are made on this machine, and `extents dev` prints them on purpose.
    with nullcontext() if sys.argv[1:2] == ["dev"] else redacted_output():
        sys.exit(_run())


def _run() -> int:
    """Run the command and return its exit status."""
    try:
        status = cli.main(standalone_mode=False)
    except click.Abort as aborted:
        if isinstance(aborted.__cause__, KeyboardInterrupt):
            return INTERRUPTED
        click.echo("aborted", err=True)
        return 1
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ExtentsError as error:
        click.echo(f"error: {error}", err=True)
        return 1
    except Exception as error:
        advice = missing_part(error) if isinstance(error, ModuleNotFoundError) else None
        if advice is None:
            traceback.print_exc()  # here, where secrets in it are masked
        else:
            click.echo(f"error: {advice}", err=True)
        return 1
    return status if isinstance(status, int) else 0
