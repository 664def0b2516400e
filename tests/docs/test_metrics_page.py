"""The page of all metrics is generated from the metrics."""

import re
from pathlib import Path

from core.metric_kinds import SPECS
from tools import metrics_table

ROOT = Path(__file__).parents[2]


def test_page_is_up_to_date():
    """docs/metrics.md matches the metrics; `python -m tools.metrics_table` updates it."""
    assert metrics_table.PAGE.read_text() == metrics_table.page()


def test_every_metric_is_on_the_page_once():
    """Every metric is on the page exactly once."""
    listed = re.findall(r"^\| `(extents_[a-z_]+)`", metrics_table.page(), re.MULTILINE)
    assert sorted(listed) == sorted(SPECS)


def test_every_metric_is_set_somewhere():
    """Every metric is set somewhere, because a panel of one that is not set would stay empty."""
    module = (ROOT / "core" / "metrics.py").read_text()
    names = re.findall(r"^([A-Z_]+) = (?:counter|gauge|histogram|owned_gauge)\(", module, re.MULTILINE)
    assert len(names) == len(SPECS)
    sources = "".join(path.read_text() for path in (ROOT / "streams").rglob("*.py"))
    assert [name for name in names if not re.search(rf"\b{name}\b\.|\b{name}, \w|, \b{name}\b", sources)] == []
