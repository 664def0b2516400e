"""``extents replay``: process videos again, in bulk, by a plan."""

import click

from cli.operations.replays.control import cancel, list_replays, pause, resume, start
from cli.operations.replays.plan import SETTINGS, plan
from cli.operations.replays.status import status
from cli.shared.command_group import CommandGroup


@click.group(
    cls=CommandGroup,
    epilog=f"""\b
Examples:
  extents replay plan --from 7d --model mrn0fkfd --name new-model
  extents replay start new-model --rate 30 --max-cost 20 --shadow 10 --max-change 0.02
  extents replay status new-model --watch
{SETTINGS}""",
)
def command() -> None:
    """Process videos again: plan, start, watch, pause, resume, cancel.

    The service carries out a replay, and keeps its state in the database, so you can close the terminal. Every planned item
    becomes at most one run. Rewinding the consumer group's offsets is no substitute: each record would be recognised and
    answered as before.
    """


for subcommand in (plan, start, status, pause, resume, cancel, list_replays):
    command.add_command(subcommand)
