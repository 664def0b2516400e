"""``docs/metrics.md`` from the metrics themselves. ``python -m tools.metrics_table`` writes it."""

from pathlib import Path
from typing import Final

import core.metrics  # noqa: F401 - fills the list
from core.metric_kinds import SPECS, Label, Spec

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "metrics.md"

_HEAD: Final = """\
# Metrics

Made by `.venv/bin/python -m tools.metrics_table` from [the metrics](../core/metrics.py); a test fails when it is not up to date.

Both workers serve `/metrics` at `EXTENTS_HTTP_PORT`, as text or as OpenMetrics, which carries exemplars: the `run_id` of each
duration, and its `trace_id` if it has a [trace](tracing.md). Units are seconds, bytes and dollars. Every counter and histogram whose
labels are listed here exists with 0 from the start, so that `increase()` sees the first event. No label is ever a run, a video or a tenant.

`prometheus_client` adds the process's own: `process_cpu_seconds_total`, `process_resident_memory_bytes`, `process_start_time_seconds` and
others.
"""

_SECTIONS: Final = (
    ("Coordinator", ("coordinator",), False, "About the records and runs of its own partitions: add them up over all coordinators."),
    (
        "Whole installation",
        ("coordinator",),
        True,
        "Reported by the coordinator that has the first partition of `inference.results`, and by no other; a figure that cannot be found "
        "out has no series. `max()` over instances bridges the moment in which the partition moves.",
    ),
    ("GPU worker", ("gpu-worker",), False, ""),
    ("Both", ("coordinator", "gpu-worker"), False, ""),
)


def page() -> str:
    """The page: a table for each kind of process."""
    return "\n".join([_HEAD, *(_section(*section) for section in _SECTIONS)])


def _section(title: str, roles: tuple[str, ...], owned: bool, text: str) -> str:
    specs = [spec for spec in SPECS.values() if spec.roles == roles and spec.owned == owned]
    rows = [f"| `{spec.name}` | {spec.kind} | {_labels(spec)} | {spec.help} |" for spec in specs]
    return "\n".join(
        [f"## {title}", "", *([text, ""] if text else []), "| metric | kind | labels | meaning |", "| --- | --- | --- | --- |", *rows, ""]
    )


def _labels(spec: Spec) -> str:
    return "; ".join(_label(label) for label in spec.labels)


def _label(label: Label) -> str:
    return f"`{label.name}`: {', '.join(f'`{value}`' for value in label.values) or label.bound}"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
