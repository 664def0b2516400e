"""The types that describe dashboards, rules and alerts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression, and the name of its series, in which ``{{label}}`` stands for the label's value."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart or figure. ``unit`` is Grafana's name of the unit; ``runbook`` names an alert whose section says what to do."""

    title: str
    description: str
    unit: str
    queries: Sequence[Query]
    kind: Literal["chart", "figure"] = "chart"
    stacked: bool = False
    runbook: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Board:
    uid: str
    title: str
    description: str
    rows: Sequence[Row]

    @property
    def panels(self) -> list[Panel]:
        return [panel for row in self.rows for panel in row.panels]


@dataclass(frozen=True, slots=True)
class Rule:
    """A recording rule: an expression that panels and alerts share."""

    record: str
    expr: str


@dataclass(frozen=True, slots=True)
class Alert:
    """Attributes:
    summary: one line, with ``{{ $labels.… }}`` and ``{{ $value }}`` as Prometheus fills them in.
    meaning: what is wrong, and who is affected; a paragraph of the runbook.
    steps: what to do, in this order.
    """

    name: str
    severity: Literal["page", "ticket"]
    expr: str
    hold: str
    summary: str
    meaning: str
    steps: Sequence[str] = field(default_factory=tuple)

    @property
    def anchor(self) -> str:
        return self.name.lower()
