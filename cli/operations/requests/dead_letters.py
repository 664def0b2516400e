"""``extents dead-letters``: records that could not be processed, and what to do about them."""

import asyncio
import sys
from collections.abc import Callable
from typing import Any, Final

import click
import orjson

from cli.shared.command_group import CommandGroup
from cli.shared.listing import Column, cell, moment, print_rows
from cli.shared.output import print_facts, print_heading, print_json, print_table, remark
from cli.shared.parameters import MomentParameter, json_option
from core.counts import counted
from core.settings import Settings
from streams.kafka.brokers import require_topics
from streams.kafka.dead_letter_reader import DISCARDED, DeadLetterReader
from streams.kafka.redriving import carry_out
from streams.policy.redrive import plan
from streams.policy.stored_letters import Selection, StoredLetter
from streams.topics import Topics

_SETTINGS: Final = "\n\b\nSettings: KAFKA_*, EXTENTS_TOPIC_PREFIX."

_COLUMNS: Final = (
    cell("place"),
    moment("set_aside_at", "set aside (UTC)"),
    Column("topic", lambda row: row["origin"].rsplit("/", 2)[0]),
    cell("reason"),
    Column("run", lambda row: (row["run_id"] or "")[:8]),
    cell("handled"),
    Column("error", lambda row: row["error"], flexible=True),
)


def _selecting(command: Callable[..., None]) -> Callable[..., None]:
    """The options with which every subcommand chooses letters."""
    for option in reversed(
        (
            click.argument("ids", nargs=-1, metavar="[PLACE]..."),
            click.option("--topic", help="Only records of this topic, such as inference.work.high."),
            click.option("--reason", help="Only letters with this reason, such as span_failed, poison, undecodable."),
            click.option("--since", type=MomentParameter(), help="Only letters set aside since this time or age: 2026-05-01T12:00, 12h."),
            click.option("--until", type=MomentParameter(), help="Only letters set aside before this time or age."),
            click.option("--handled", is_flag=True, help="Include letters that were already redriven or discarded."),
        )
    ):
        command = option(command)
    return command


@click.group(cls=CommandGroup)
def command() -> None:
    """Look at records that could not be processed, and have them processed again or discard them.

    A PLACE is the letter's partition/offset, as "list" prints it. Letters are not deleted: the topic keeps them for 30 days,
    and what was done about each is recorded beside it.

    \b
      extents dead-letters list --since 12h
      extents dead-letters show 0/17
      extents dead-letters redrive --topic inference.work.high --since 12h
      extents dead-letters discard 0/17 --note "test data"
    \b
    Settings: KAFKA_*, EXTENTS_TOPIC_PREFIX.
    """


@command.command(
    "list",
    epilog=f"""\b
Examples:
  extents dead-letters list --since 12h
  extents dead-letters list --reason span_failed --json-lines | jq -r .run_id
{_SETTINGS}""",
)
@_selecting
@click.option("--json-lines", "as_lines", is_flag=True, help="Print one JSON object a line.")
@json_option
def list_letters(as_json: bool, as_lines: bool, **chosen: Any) -> None:
    """List dead letters, oldest first."""
    letters = _read(Selection(**chosen))
    if as_lines:
        for letter in letters:
            click.echo(orjson.dumps(_as_json(letter)).decode())
        return
    if as_json:
        print_json([_as_json(letter) for letter in letters])
        return
    if letters:
        print_rows(_COLUMNS, [_as_json(letter) for letter in letters])
    remark(counted(len(letters), "dead letter"))


@command.command(
    epilog=f"""\b
Examples:
  extents dead-letters show 0/17
  extents dead-letters show --topic inference.work.high --since 12h --json
\b
Exit status 1 if there is no such letter.
{_SETTINGS}"""
)
@_selecting
@json_option
def show(as_json: bool, **chosen: Any) -> None:
    """Show dead letters in full: headers, error, original bytes."""
    letters = _read(Selection(**chosen))
    if as_json:
        print_json([{**_as_json(letter), "value": letter.value.decode(errors="replace")} for letter in letters])
    for letter in () if as_json else letters:
        print_heading(f"{letter.id}, set aside {letter.dead_lettered_at:%Y-%m-%d %H:%M:%S} UTC")
        print_facts(
            [("handled", letter.handled or "no"), ("key", repr(letter.key)), *((name, letter.header(name)) for name in letter.headers)]
        )
        click.echo(letter.value.decode(errors="replace"))
    if not letters:
        remark("no such dead letter")
        sys.exit(1)


@command.command(
    epilog=f"""\b
Examples:
  extents dead-letters redrive 0/17
  extents dead-letters redrive --topic inference.work.high --since 12h --yes
{_SETTINGS}"""
)
@_selecting
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def redrive(yes: bool, as_json: bool, **chosen: Any) -> None:
    """Have dead letters processed again.

    Shows what will be sent, asks, sends it, and records that beside the letters. A failed run gets one request, which
    becomes its next attempt, however many of its work records are chosen. Other records are sent to their topic again
    unchanged.
    """
    steps = plan(_read(Selection(**chosen)), Topics(Settings().topics))
    if not as_json:
        print_table(
            ("letters", "action"), [(", ".join(letter.id for letter in step.letters), step.action) for step in steps], folded=("action",)
        )
    if steps and not yes:
        click.confirm(f"send {counted(len(steps), 'record')}?", abort=True, err=True)
    settings = Settings()
    asyncio.run(carry_out(settings.kafka, Topics(settings.topics), steps))
    if as_json:
        print_json([{"letters": [letter.id for letter in step.letters], "topic": step.topic, "does": step.action} for step in steps])
    else:
        remark(f"{len(steps)} sent")


@command.command(
    epilog=f"""\b
Examples:
  extents dead-letters discard 0/17 --note "test data"
  extents dead-letters discard --reason undecodable --since 1d --yes
{_SETTINGS}"""
)
@_selecting
@click.option("--note", default="", help="The reason, recorded beside the letters.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def discard(note: str, yes: bool, **chosen: Any) -> None:
    """Mark dead letters as needing nothing more. "list" leaves them out from then on."""
    letters = _read(Selection(**chosen))
    print_table(("place", "reason", "error"), [(letter.id, letter.reason, letter.error[:80]) for letter in letters], folded=("error",))
    if letters and not yes:
        click.confirm(f"discard {counted(len(letters), 'dead letter')}?", abort=True, err=True)
    settings = Settings()
    asyncio.run(DeadLetterReader(settings.kafka, Topics(settings.topics)).acknowledge(letters, DISCARDED, note))
    remark(f"{len(letters)} discarded")


def _read(selection: Selection) -> list[StoredLetter]:
    settings = Settings()
    topics = Topics(settings.topics)

    async def read() -> list[StoredLetter]:
        await require_topics(settings.kafka, [topics.dead_letter])
        return await DeadLetterReader(settings.kafka, topics).read(selection)

    return asyncio.run(read())


def _as_json(letter: StoredLetter) -> dict[str, Any]:
    return {
        "place": letter.id,
        "set_aside_at": letter.dead_lettered_at,
        "origin": letter.origin,
        "reason": letter.reason,
        "error": letter.error,
        "run_id": letter.run_id,
        "handled": letter.handled,
        "key": None if letter.key is None else letter.key.decode(errors="replace"),
        "headers": {name: letter.header(name) for name in letter.headers},
    }
