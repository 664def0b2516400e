"""The commands of docs/operations.md: read from the page, run, and compared with the output that the page shows."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).parents[2] / "docs" / "operations.md"

PROGRESS: Final = re.compile(r"\w+: \d+ (of \d+ )?\w+(, about \S+ left)?")
"""A line that a slow machine prints now and then."""

MASKS: Final = (
    (r"[\w.-]+:\d{3,6}\b", "NAME"),  # a worker: its host and its process
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID"),
    (r"\b[0-9a-f]{64}\b|\b[0-9a-f]{12}\b|\b(?=[0-9a-f]*[0-9])[0-9a-f]{8}\b", "ID"),
    (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?(\.\d+)?|\d{4}-\d\d-\d\d|\d{4}-\d\d", "TIME"),
    (r"\d+:\d\d:\d\d(\.\d+)?", "TIME"),
    (r"[#.]{9,}", "BAR"),
    (r"\d+(\.\d+)?(e-\d+)?", "N"),
    (r"\bN(s|m|h|d)\b", "AGE"),
    (r"N (bytes|kB|MB)", "SIZE"),
    (r"\S*…", "…"),  # where a line is cut depends on the widths of its columns
    (r"[ \t]+", " "),
    (r" ?\n\s*", "\n"),
)
"""Patterns of what differs between runs, and their replacements, in order of application."""


@dataclass(frozen=True, slots=True)
class Step:
    """A command of the page, without ``$``, and the lines below it."""

    section: str
    command: str
    output: str


def steps(text: str) -> list[Step]:
    """Return the commands of the page that begin with ``extents``, in order."""
    steps_of_page = []
    for section in re.split(r"(?m)^## ", text):
        title = section.partition("\n")[0] if not section.startswith("#") else ""
        for block in re.findall(r"```console\n(.*?)```", section, re.DOTALL):
            for command, output in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE):
                if command.startswith("extents "):
                    steps_of_page.append(Step(title, command, output))
    return steps_of_page


def as_shown(text: str) -> str:
    """Return what a command printed as the page shows it: with the answers that were given, and without progress."""
    lines = [line.rstrip() for line in text.replace("[y/N]: ", "[y/N]: y\n").splitlines()]
    return "".join(f"{line}\n" for line in lines if PROGRESS.fullmatch(line) is None)


def masked(text: str) -> str:
    """Replace each id, time and number in a text by a sign, so that only its shape is left."""
    for pattern, sign in MASKS:
        text = re.sub(pattern, sign, text)
    return text.strip()


def with_names(text: str, names: Mapping[str, str]) -> str:
    """Replace each of these names in a text, the longest first."""
    for name in sorted(names, key=len, reverse=True):
        text = text.replace(name, names[name])
    return text


def rewritten(text: str, shown: Iterable[tuple[Step, str]]) -> str:
    """Return the page with new outputs below these commands."""
    for step, output in shown:
        before = f"$ {step.command}\n{step.output}"
        assert text.count(before) == 1, f"{step.command} is on the page {text.count(before)} times"
        text = text.replace(before, f"$ {step.command}\n{output}")
    return text
