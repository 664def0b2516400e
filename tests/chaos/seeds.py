"""``python -m tests.chaos.seeds``: writes the results of all seeds so far, and of the last soak, to benchmarks/results/chaos.md."""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.chaos.footprint import MEASURES
from tests.chaos.soak import FIGURES

ROOT: Final = Path(__file__).resolve().parent.parent.parent
PAGE: Final = ROOT / "benchmarks" / "results" / "chaos.md"
SEEDS: Final = ROOT / ".stack" / "chaos"


def main() -> None:
    seeds = {content["seed"]: content["scenarios"] for content in map(_read, SEEDS.glob("seed-*.json"))}
    text = PAGE.read_text()
    if seeds:
        text = _replace_table(text, "seeds", _seeds(dict(sorted(seeds.items()))))
    if FIGURES.exists():
        text = _replace_table(text, "soak", _soak(_read(FIGURES)))
    PAGE.write_text(text)
    sys.stdout.write(f"{PAGE.relative_to(ROOT)}: seeds {', '.join(map(str, sorted(seeds))) or 'none'}\n")


def _read(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text())
    return content


def _replace_table(text: str, name: str, table: Sequence[Sequence[str]]) -> str:
    """Replace the text between the two comments of this name."""
    lines = ["| " + " | ".join(row) + " |" for row in table]
    lines.insert(1, "| " + " | ".join("---" for _ in table[0]) + " |")
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    replaced, count = re.subn(f"{begin}.*?{end}", lambda _: "\n".join([begin, "", *lines, "", end]), text, flags=re.DOTALL)
    assert count == 1, f"{PAGE.name} has {count} places for {name}"
    return replaced


def _seeds(seeds: Mapping[int, Mapping[str, Mapping[str, Any]]]) -> list[list[str]]:
    """A row for each figure of each scenario, a column for each seed."""
    table = [["scenario", "figure", *(f"seed {seed}" for seed in seeds)]]
    for scenario in dict.fromkeys(name for scenarios in seeds.values() for name in scenarios):
        of_seeds = [scenarios.get(scenario, {}) for scenarios in seeds.values()]
        shown = f"`{scenario.replace('::', ' ')}`"
        for figure in dict.fromkeys(name for figures in of_seeds for name in figures):
            table.append([shown, figure.replace("_", " "), *(_cell(figures.get(figure)) for figures in of_seeds)])
            shown = ""
    return table


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_cell(number)}" for name, number in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def _soak(content: Mapping[str, Any]) -> list[list[str]]:
    """A row for each measure of each process."""
    order = list(MEASURES)
    table = [["process", "measure", "start", "2nd quarter", "last quarter", "an hour", "bound"]]
    for item in sorted(content["growth"], key=lambda item: (item["process"], order.index(item["measure"]))):
        numbers = [f"{item[name]:.1f}" for name in ("start", "second_quarter", "last_quarter")]
        table.append([item["process"], item["measure"], *numbers, f"{item['an_hour']:+.1f}", f"+{item['bound']:.1f}"])
    return table


if __name__ == "__main__":
    main()
