"""Compares the output of a command with a reviewed snapshot."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from uuid import UUID

FOLDER = Path(__file__).parent / "snapshots"

_AGE = re.compile(r" {2,}(\d+[smhd]|age)(?= |$)", re.MULTILINE)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d)?")


def assert_looks_like(
    name: str, text: str, ids: Mapping[str, UUID | str] | None = None, *, ages: bool = False, moments: bool = True
) -> None:
    """Compare with ``snapshots/NAME.txt``; with ``UPDATE_SNAPSHOTS`` set, write it instead.

    Args:
        ids: random ids, by the character that replaces each in the snapshot.
        ages: the text has a column of ages, which depend on the clock.
        moments: the text also has times of this moment.
    """
    for sign, random_id in (ids or {}).items():
        text = text.replace(str(random_id), re.sub("[0-9a-f]", sign, str(random_id))).replace(str(random_id)[:8], sign * 8)
    if moments:
        text = _MOMENT.sub(lambda match: "2026-11-28 12:00:00"[: len(match[0])], text)
    text = "".join(f"{line.rstrip()}\n" for line in (_AGE.sub("  age", text) if ages else text).splitlines())
    path = FOLDER / f"{name}.txt"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()
