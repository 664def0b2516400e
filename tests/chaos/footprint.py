"""Memory, descriptors and threads of processes over time, and whether they grow. Reads what Linux reports about a process."""

import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Sample:
    """A process at one moment, ``seconds`` after the first."""

    seconds: float
    memory_mib: float
    descriptors: int
    threads: int


@dataclass(frozen=True, slots=True)
class Growth:
    """One measure of one process over a whole soak.

    Attributes:
        start: the first sample.
        second_quarter, last_quarter: medians.
        an_hour: the slope of the line through the last three quarters.
        bound: by how much the last quarter may exceed the second.
    """

    process: str
    measure: str
    start: float
    second_quarter: float
    last_quarter: float
    an_hour: float
    bound: float

    @property
    def too_much(self) -> bool:
        return self.last_quarter - self.second_quarter > self.bound


MEASURES: Final[dict[str, tuple[Callable[[Sample], float], Callable[[float], float]]]] = {
    # A tenth: what a process keeps on purpose (a marker of each finished run, 14 days) is far below that in an hour.
    "memory, MiB": (lambda sample: sample.memory_mib, lambda before: before / 10),
    # Connections come and go with what happens to be in flight.
    "descriptors": (lambda sample: sample.descriptors, lambda before: 8.0),
    "threads": (lambda sample: sample.threads, lambda before: 2.0),
}
"""The measures, and the bound of each measure's growth over half a soak, as a share of its value."""


def take_sample(pid: int, seconds: float) -> Sample:
    """Measure a running process."""
    status = Path(f"/proc/{pid}/status").read_text()
    memory, threads = (int(number) for number in re.findall(r"^(?:VmRSS|Threads):\s+(\d+)", status, re.MULTILINE))
    return Sample(seconds, memory / 1024, sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()), threads)


def growth(process: str, samples: Sequence[Sample]) -> list[Growth]:
    """All measures of one process. The first quarter is left out, because caches fill and every code path runs for the first time."""
    total_seconds = samples[-1].seconds
    second = [sample for sample in samples if total_seconds / 4 <= sample.seconds < total_seconds / 2]
    last = [sample for sample in samples if sample.seconds >= total_seconds * 3 / 4]
    settled = [sample for sample in samples if sample.seconds >= total_seconds / 4]
    growths = []
    for measure, (value, bound) in MEASURES.items():
        slope = statistics.linear_regression([sample.seconds for sample in settled], [value(sample) for sample in settled]).slope
        before = statistics.median(map(value, second))
        after = statistics.median(map(value, last))
        growths.append(Growth(process, measure, value(samples[0]), before, after, 3600 * slope, bound(before)))
    return growths


def table(growths: Sequence[Growth]) -> str:
    """A table for people, with a row for each process and measure."""
    rows = [["process", "measure", "start", "2nd quarter", "last quarter", "an hour", "bound", ""]]
    for item in growths:
        numbers = [f"{value:.1f}" for value in (item.start, item.second_quarter, item.last_quarter)]
        rows.append(
            [item.process, item.measure, *numbers, f"{item.an_hour:+.1f}", f"+{item.bound:.1f}", "GROWS" if item.too_much else "flat"]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def as_json(growths: Sequence[Growth]) -> list[dict[str, Any]]:
    """The same for programs."""
    names = ("process", "measure", "start", "second_quarter", "last_quarter", "an_hour", "bound", "too_much")
    return [{name: getattr(item, name) for name in names} for item in growths]
