"""Output of all commands: tables and JSON on standard output, progress and remarks on standard error."""

import os
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import click
import orjson
from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from core.film_time import clock

_PIPED_WIDTH: Final = 200
"""Width of a table that is not printed to a terminal: wide enough that texts are seldom cut."""

GAP: Final = 2  # columns between two columns of a table

SHORTEST_TEXT: Final = 12
"""Columns that a text keeps, however narrow the terminal is."""

_LINE_SECONDS: Final = 10.0
"""Seconds between two lines of progress without a terminal."""


class Report(Protocol):
    """Receives progress: how much is done, of how much in total (None: unknown)."""

    def __call__(self, done: int, total: int | None) -> None: ...


def json_text(value: Any) -> str:
    """Indented JSON with a final line feed."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


def print_json(value: Any) -> None:
    click.echo(json_text(value), nl=False)


@contextmanager
def json_array() -> Iterator[Callable[[Any], None]]:
    """Print an array of the values that the block adds, each when it is added. The array is complete however the block ends."""
    count = 0

    def add(value: Any) -> None:
        nonlocal count
        # Whole lines, because remarks on the same terminal come between two values.
        click.echo((",\n" if count else "") + json_text(value), nl=False)
        count += 1

    click.echo("[")
    try:
        yield add
    finally:
        click.echo("]")


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = (), folded: Sequence[str] = ()) -> None:
    """Print rows under headings. No value is cut: a terminal that is too narrow for the values continues them on its next line.

    Args:
        right: the headings of right-aligned columns.
        folded: the headings of columns of text, which is continued below itself where the terminal is too narrow.
    """
    widths = [max(cell_len(text) for text in texts) for texts in zip(headings, *rows, strict=True)]
    if _is_narrow():
        widths = [min(width, SHORTEST_TEXT) if heading in folded else width for heading, width in zip(headings, widths, strict=True)]
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for heading, width in zip(headings, widths, strict=True):
        justify: JustifyMethod = "right" if heading in right else "left"
        table.add_column(heading, justify=justify, no_wrap=heading not in folded, overflow="fold", min_width=width)
    for row in rows:
        table.add_row(*row)
    # A console of less width would drop columns.
    Console(width=max(table_width(), sum(widths) + GAP * (len(widths) - 1))).print(table, highlight=False, markup=False)


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Print names and values, one pair per line, with aligned values."""
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        click.echo(f"{name:<{width}}  {value}")


def print_wrapped_facts(facts: Sequence[tuple[str, str]]) -> None:
    """The same with each value within the width of the terminal."""
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        head = f"{name:<{width}}  "
        lines = textwrap.wrap(value, table_width(), initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False)
        click.echo("\n".join(lines or [head.rstrip()]))


def print_heading(text: str) -> None:
    click.echo()
    click.echo(click.style(text, bold=True))


_bars: list[Progress] = []  # the bar on the terminal, if there is one


def remark(text: str) -> None:
    """Print something that is not part of the result: on standard error, above the bar if one is shown. Any thread may call it."""
    shown = next(reversed(_bars), None)
    if shown is not None:
        shown.console.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)
    else:
        click.echo(text, err=True)


@contextmanager
def bar(*columns: ProgressColumn) -> Iterator[Progress | None]:
    """Show progress in these columns at the bottom of the terminal while the block runs, and leave nothing of it behind.

    Yields:
        None if standard error is no terminal.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    shown = Progress(*columns, console=console, transient=True)
    _bars.append(shown)
    try:
        with shown:
            yield shown
    finally:
        _bars.remove(shown)


def program() -> str:
    """How to run this program again: ``extents`` if the shell finds it, else its path."""
    path = Path(sys.argv[0])
    if path.name != "extents" or shutil.which("extents") == str(path):
        return "extents"
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


class _Lines:
    """Progress without a terminal: a line now and then, with the remaining time."""

    def __init__(self, what: str, unit: str) -> None:
        self._what, self._unit = what, unit
        self._began = self._last = time.monotonic()

    def report(self, done: int, total: int | None) -> None:
        now = time.monotonic()
        if now - self._last < _LINE_SECONDS:
            return
        self._last = now
        if not total or not done:
            remark(f"{self._what}: {done} {self._unit}")
            return
        left = (now - self._began) * max(0, total - done) / done
        remark(f"{self._what}: {done} of {max(done, total)} {self._unit}, about {clock(left)} left")


@contextmanager
def progress(what: str, unit: str, *, plain: bool = False) -> Iterator[Report]:
    """Show progress on standard error while the block runs: a bar on a terminal, elsewhere a line every ten seconds.

    Args:
        plain: lines on a terminal too, for several blocks that run at once and would draw over each other's bars.
    """
    columns = (TextColumn("{task.description:<11}"), BarColumn(bar_width=30), MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn())
    if plain:
        yield _Lines(what, unit).report
        return
    with bar(*columns) as shown:
        if shown is None:
            yield _Lines(what, unit).report
            return
        task = shown.add_task(what, total=None)

        def report(done: int, total: int | None) -> None:
            shown.update(task, completed=done, total=max(done, total) if total is not None else None)

        yield report


def exact_clock(seconds: float) -> str:
    """``0:01:02.340``: to a millisecond, for times of a film's own pictures."""
    milliseconds = round(seconds * 1000)
    return f"{milliseconds // 3_600_000}:{milliseconds // 60_000 % 60:02}:{milliseconds // 1000 % 60:02}.{milliseconds % 1000:03}"


def table_width() -> int:
    """Columns that a table may take: those of the terminal, or ``COLUMNS`` if set."""
    return Console().width if _is_narrow() else _PIPED_WIDTH


def _is_narrow() -> bool:
    """Whether somebody reads the output on a terminal. In a pipe each row is one line."""
    return sys.stdout.isatty() or "COLUMNS" in os.environ
