"""The figures that scenarios measured, as a table for people and as a JSON file for comparing seeds."""

import json
import statistics
from collections import defaultdict
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(slots=True)
class Report:
    """The figures of one scenario.

    Attributes:
        figures: by name, with the unit in the name: ``kills``, ``videos``, ``rework_spans``, ``seconds``.
        recoveries: seconds from each fault to the next progress, by the kind of fault.
    """

    figures: dict[str, Any] = field(default_factory=dict)
    recoveries: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def note(self, **figures: Any) -> None:
        self.figures.update(figures)

    def recovered(self, fault: str, seconds: float) -> None:
        self.recoveries[fault].append(seconds)

    def summary(self) -> dict[str, Any]:
        return self.figures | {f"recovery_seconds after {fault}": _spread(seconds) for fault, seconds in self.recoveries.items()}


def table(reports: Mapping[str, Report], broken: Set[str]) -> list[str]:
    """A line for each figure, below its scenario."""
    lines = []
    for scenario, report in reports.items():
        lines.append(f"{_name(scenario)}{'  FAILED' if scenario in broken else ''}")
        lines += [f"    {name:<44} {_shown(value)}" for name, value in report.summary().items()]
    return lines


def write(root: Path, seed: int, reports: Mapping[str, Report], broken: Set[str]) -> Path:
    """Write the figures of a seed, in addition to those of its earlier scenarios; return the file's path below ``root``."""
    file = Path(".stack", "chaos", f"seed-{seed}.json")
    scenarios = json.loads((root / file).read_text())["scenarios"] if (root / file).exists() else {}
    scenarios |= {_name(scenario): {"passed": scenario not in broken, **report.summary()} for scenario, report in reports.items()}
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_text(json.dumps({"seed": seed, "scenarios": scenarios}, indent=2) + "\n")
    return file


def _spread(seconds: list[float]) -> dict[str, float]:
    return {"count": len(seconds), "median": round(statistics.median(seconds), 1), "longest": round(max(seconds), 1)}


def _name(scenario: str) -> str:
    return scenario.removeprefix("tests/chaos/")


def _shown(value: Any) -> str:
    return ", ".join(f"{name} {number}" for name, number in value.items()) if isinstance(value, dict) else str(value)
