"""Results of a benchmark, written as JSON for programs and as a table for people."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "results"

Value = str | float | int


@dataclass(frozen=True, slots=True)
class Result:
    """One benchmark's table. ``notes`` hold what a reader must know to judge it."""

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Value]]
    notes: Sequence[str] = ()

    def table(self) -> str:
        """Return a Markdown table under its title."""
        cells = [list(self.columns), *([_show(value) for value in row] for row in self.rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(self.columns))]
        lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells]
        lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
        return "\n".join([f"## {self.title}", "", *lines, *([""] if self.notes else []), *self.notes, ""])

    def write(self, machine: Mapping[str, object], folder: Path = FOLDER) -> None:
        """Write ``NAME.json`` and ``NAME.md``, each with the machine's description."""
        folder.mkdir(parents=True, exist_ok=True)
        content = {**asdict(self), "machine": machine}
        (folder / f"{self.name}.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
        described = "\n".join(f"- {key}: {value}" for key, value in machine.items())
        (folder / f"{self.name}.md").write_text(f"{self.table()}\nMeasured on:\n\n{described}\n")


def _show(value: Value) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else value
