"""``extents topics``: creates and checks the service's topics."""

import asyncio
import sys
from typing import TYPE_CHECKING, Final

import click

from cli.shared.command_group import CommandGroup
from cli.shared.output import print_json, print_table, remark
from cli.shared.parameters import json_option
from core.counts import counted
from core.settings import Settings

if TYPE_CHECKING:
    from streams.kafka.topic_state import TopicState

_SETTINGS: Final = "\n\b\nSettings: KAFKA_*, EXTENTS_TOPIC_PREFIX, EXTENTS_*_PARTITIONS."


@click.group(
    cls=CommandGroup,
    epilog=f"""\b
Examples:
  extents topics create
  extents topics check
{_SETTINGS}""",
)
def command() -> None:
    """Create the service's topics, or check existing ones.

    Workers never create topics. In production, create them before the workers start for the first time, and after each update.
    """


@command.command(
    epilog=f"""\b
Examples:
  extents topics create
  KAFKA_REPLICATION_FACTOR=1 extents topics create     (a single broker)
{_SETTINGS}"""
)
@json_option
def create(as_json: bool) -> None:
    """Create missing topics. Existing topics stay as they are."""
    from streams.kafka.brokers import brokers  # loads Faust
    from streams.kafka.topic_admin import ensure_topics
    from streams.topics import Topics

    settings = Settings()
    specs = Topics(settings.topics).specs()

    async def run() -> list[str]:
        async with brokers(settings.kafka):
            return await ensure_topics(specs, settings.kafka)

    created = asyncio.run(run())
    if as_json:
        print_json({"created": created, "present": [spec.name for spec in specs if spec.name not in created]})
        return
    for name in created:
        click.echo(f"created {name}")
    remark(f"{len(created)} topics created, {len(specs) - len(created)} existed")


@command.command(
    epilog=f"""\b
Examples:
  extents topics check
  extents topics check --json | jq '.[] | select(.faults != [])'
\b
Exit status 1 if a topic is missing or differs.
{_SETTINGS}"""
)
@json_option
def check(as_json: bool) -> None:
    """Compare existing topics with the expected ones.

    Looks at partitions, retention and replication, and changes nothing.
    """
    from streams.kafka.brokers import brokers  # loads Faust
    from streams.kafka.topic_state import read_topic_states
    from streams.topics import Topics

    settings = Settings()

    async def run() -> "list[TopicState]":
        async with brokers(settings.kafka):
            return await read_topic_states(Topics(settings.topics).specs(), settings.kafka)

    states = asyncio.run(run())
    if as_json:
        print_json([_as_json(state) for state in states])
    else:
        _print(states)
    sys.exit(1 if any(state.faults for state in states) else 0)


def _print(states: "list[TopicState]") -> None:
    rows = [
        (state.spec.name, str(state.partitions or "-"), str(state.replication or "-"), _kept(state), "FAULTY" if state.faults else "ok")
        for state in states
    ]
    print_table(("topic", "partitions", "copies", "kept", "state"), rows, right=("partitions", "copies"))
    for state in states:
        for fault in state.faults:
            click.echo(f"{state.spec.name} {fault}")


def _kept(state: "TopicState") -> str:
    from streams.topics import DAY_MS

    retention = state.spec.config.get("retention.ms")
    if retention is None:
        return "compacted"
    days = int(retention) // DAY_MS
    return counted(days, "day")


def _as_json(state: "TopicState") -> dict[str, object]:
    return {
        "topic": state.spec.name,
        "partitions": state.partitions,
        "replication": state.replication,
        "expected": {"partitions": state.spec.partitions, **state.spec.config},
        "faults": list(state.faults),
    }
