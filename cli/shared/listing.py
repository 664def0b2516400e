"""Prints a list of rows: as a table, as JSON, or as one JSON object a line while the rows are read."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import click
import orjson

from cli.shared.output import GAP, SHORTEST_TEXT, print_json, print_table, remark, table_width
from core.counts import counted
from core.moments import parse_moment

Row = Mapping[str, Any]
Command = TypeVar("Command", bound=Callable[..., Any])

ROWS_SHOWN: Final = 50


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a list.

    Attributes:
        right: its values are numbers.
        flexible: its texts are cut to the width that the other columns leave.
    """

    heading: str
    text: Callable[[Row], str]
    right: bool = False
    flexible: bool = False


def listing_options(command: Command) -> Command:
    """``--limit``, ``--all``, ``--json`` and ``--json-lines``, which ``print_listing`` takes."""
    for option in (
        click.option("--json-lines", "as_lines", is_flag=True, help="Print one JSON object a line, while rows are read."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option("--all", "every", is_flag=True, help="List all."),
        click.option("--limit", type=click.IntRange(min=1), default=ROWS_SHOWN, show_default=True, metavar="N", help="List the newest N."),
    ):
        command = option(command)
    return command


def rows_wanted(limit: int, every: bool) -> int | None:
    """Return how many rows to ask for: one more than will be shown, to know whether there are more."""
    return None if every else limit + 1


async def print_listing(
    rows: AsyncIterator[dict[str, Any]],
    columns: Sequence[Column],
    noun: str,
    *,
    limit: int,
    every: bool,
    as_json: bool,
    as_lines: bool,
) -> None:
    """Print rows. ``noun`` names one of them, such as "job"."""
    if as_lines:
        count = 0
        async for row in rows:
            if every or count < limit:
                click.echo(orjson.dumps(row).decode())
            count += 1
        return
    fetched = [row async for row in rows]
    shown = fetched if every else fetched[:limit]
    if as_json:
        print_json(shown)
        return
    if shown:
        print_rows(columns, shown)
    more = "; there are more: --limit N or --all" if len(fetched) > len(shown) else ""
    remark(f"{counted(len(shown), noun)}{more}")


def print_rows(columns: Sequence[Column], rows: Sequence[Row]) -> None:
    """Print a table of all rows. Flexible columns are cut to the width of the terminal."""
    texts = [[column.text(row) for row in rows] for column in columns]
    taken = sum(
        GAP + max(len(text) for text in [column.heading, *cells])
        for column, cells in zip(columns, texts, strict=True)
        if not column.flexible
    )
    room = max(SHORTEST_TEXT, table_width() - taken - GAP)
    cells = [[cut(text, room if column.flexible else None) for text in cells] for column, cells in zip(columns, texts, strict=True)]
    headings = [column.heading for column in columns]
    print_table(headings, list(zip(*cells, strict=True)), [column.heading for column in columns if column.right])


def cell(name: str, width: int | None = None, right: bool = False, heading: str | None = None) -> Column:
    """A column of plain values; longer ones than ``width`` are cut."""

    def text(row: Row) -> str:
        value = row.get(name)
        return "" if value is None else cut(str(value), width)

    return Column(heading or name.replace("_", " "), text, right)


def moment(name: str, heading: str) -> Column:
    """A moment to the second, in UTC."""
    return Column(heading, lambda row: moment_text(row.get(name)))


def age(name: str, heading: str = "age") -> Column:
    """How long ago a moment was."""
    return Column(heading, lambda row: age_text(row.get(name)), right=True)


def cut(text: str, width: int | None) -> str:
    return text if width is None or len(text) <= width else f"{text[: width - 1]}…"


def moment_text(value: str | datetime | None) -> str:
    """``2026-11-28 16:46:53``."""
    if value is None:
        return ""
    moment = parse_moment(value) if isinstance(value, str) else value
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def age_text(value: str | datetime | None) -> str:
    """``12s``, ``5m``, ``3h``, ``4d``."""
    if value is None:
        return ""
    moment = parse_moment(value) if isinstance(value, str) else value
    return duration((datetime.now(UTC) - moment).total_seconds())


def duration(seconds: float) -> str:
    """``12s``, ``5m``, ``3h``, ``4d``: in the largest unit that fits."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{max(0.0, seconds):.0f}s"
