"""Tests each alert on time series: it fires when it should, stays quiet when it should, and links to its runbook."""

import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.debian import program
from tools.dashboards.__main__ import ROOT, files
from tools.dashboards.alerts import ALERTS
from tools.dashboards.boards import BOARDS

COORDINATOR: Final = 'extents_build_info{job="coordinator",instance="c",role="coordinator"}'
FAILED: Final = 'extents_runs_total{outcome="failed",priority="high"}'
COMPLETED: Final = 'extents_runs_total{outcome="completed",priority="high"}'
OLDEST: Final = 'extents_oldest_job_seconds{priority="high"}'
WAITING: Final = 'extents_waiting{dependency="database"}'
READY: Final = 'extents_ready{job="coordinator",instance="c"}'
BACKLOG_SPANS: Final = 'extents_gpu_backlog_spans{priority="high"}'
DONE: Final = 'extents_spans_total{disposition="done",priority="high",instance="w"}'
LABELS: Final = 'extents_label_pairs_total{{model_version="m",label="{}"}}'

Series = dict[str, str]

CASES: Final[dict[str, tuple[str, Series, Series]]] = {
    "ExtentsCoordinatorDown": ("20m", {READY: "0x40", COORDINATOR: "1x40"}, {READY: "1x40", COORDINATOR: "1x40"}),
    "ExtentsWorkerNotReady": ("20m", {READY: "0x40"}, {READY: "0 0 0 0 1x40"}),
    "ExtentsWorkerLost": ("20m", {'up{job="gpu-worker",instance="w"}': "1 0x40"}, {'up{job="gpu-worker",instance="w"}': "1x40"}),
    "ExtentsRestarts": (
        "30m",
        {'process_start_time_seconds{job="gpu-worker",instance="w"}': "1 1 2 2 3 3 4 4 5x40"},
        {'process_start_time_seconds{job="gpu-worker",instance="w"}': "1x5 2x40"},
    ),
    "ExtentsGpuBacklogGrowing": (
        "60m",
        {'extents_gpu_backlog_seconds{priority="high"}': "600+60x60"},
        {'extents_gpu_backlog_seconds{priority="high"}': "6000-60x60", 'extents_gpu_backlog_seconds{priority="low"}': "6000+60x60"},
    ),
    "ExtentsNoProgress": ("40m", {BACKLOG_SPANS: "5x40", DONE: "7x40"}, {BACKLOG_SPANS: "5x40", DONE: "7+1x40"}),
    "ExtentsGpuIdle": (
        "60m",
        {BACKLOG_SPANS: "50x60", 'extents_gpu_seconds_total{instance="w"}': "0+6x60"},
        {BACKLOG_SPANS: "50x60", 'extents_gpu_seconds_total{instance="w"}': "0+54x60"},
    ),
    "ExtentsRunsFail": (
        "90m",
        {
            FAILED: "0+1x90",
            COMPLETED: "0+9x90",
        },
        {
            FAILED: "0+1x90",
            COMPLETED: "0+99x90",
        },
    ),
    "ExtentsLate": ("120m", {}, {}),  # filled in below
    "ExtentsOldestRun": (
        "30m",
        {OLDEST: "7300+60x40"},
        {OLDEST: "60x40"},
    ),
    "ExtentsRejections": (
        "60m",
        {'extents_rejections_total{rejection_type="queue_full"}': "0x30 12x40"},
        {'extents_rejections_total{rejection_type="queue_full"}': "0x30 9x40"},
    ),
    "ExtentsRejectionsUnacknowledged": (
        "1600m",
        {'extents_unacknowledged_rejections{rejection_type="queue_full"}': "1x1600"},
        {'extents_unacknowledged_rejections{rejection_type="queue_full"}': "1x700 0 1x800"},
    ),
    "ExtentsDeadLetters": (
        "40m",
        {'extents_unhandled_dead_letters{reason="poison"}': "0 1x40", 'extents_unhandled_dead_letters{reason="refused"}': "0x40"},
        {'extents_unhandled_dead_letters{reason="poison"}': "0x40", 'extents_unhandled_dead_letters{reason="refused"}': "0x40"},
    ),
    "ExtentsBreakerOpen": (
        "20m",
        {WAITING: "1x40"},
        {WAITING: "1x3 0x40"},
    ),
    "ExtentsSpend": ("5m", {"extents_spend_today_usd": "101x10"}, {"extents_spend_today_usd": "99x10"}),
    "ExtentsDrift": (
        "600m",
        {LABELS.format("same"): "0+9000x300 2700000+1000x300", LABELS.format("empty_empty"): "0+1000x300 300000+9000x300"},
        {LABELS.format("same"): "0+9000x600", LABELS.format("empty_empty"): "0+1000x600"},
    ),
}
"""For each alert: the time to look at, series with a step of one minute for which it then fires, and series for which it does not."""


def _durations(in_time: int) -> Series:
    labels = 'outcome="completed",priority="high",replay="no"'
    return {
        f'extents_request_to_outcome_seconds_bucket{{{labels},le="600.0"}}': f"0+{in_time}x120",
        f"extents_request_to_outcome_seconds_count{{{labels}}}": "0+100x120",
    }


CASES["ExtentsLate"] = ("120m", _durations(90), _durations(99))


def test_every_alert_has_a_case():
    """Every alert has time series that test it."""
    assert list(CASES) == [alert.name for alert in ALERTS]


@pytest.mark.parametrize("name", CASES)
def test_an_alert_fires_and_stays_quiet(name, tmp_path):
    """The alert fires for the first set of series, and not for the second."""
    at, firing, quiet = CASES[name]
    tests = [_promql_test(name, at, series, expected) for series, expected in ((firing, True), (quiet, False))]
    rules = [str(ROOT / "deploy" / "prometheus" / file) for file in ("recording.yml", "alerts.yml")]
    path = tmp_path / "test.yml"
    path.write_text(yaml.safe_dump({"rule_files": rules, "evaluation_interval": "1m", "tests": tests}))
    done = subprocess.run([program("promtool"), "test", "rules", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _promql_test(name: str, at: str, series: Series, expected: bool) -> dict[str, Any]:
    query = f'sgn(count(ALERTS{{alertname="{name}",alertstate="firing"}})) or vector(0)'
    return {
        "interval": "1m",
        "input_series": [{"series": each, "values": values} for each, values in series.items()],
        "promql_expr_test": [{"expr": query, "eval_time": at, "exp_samples": [{"labels": "{}", "value": int(expected)}]}],
    }


def test_rules_are_valid():
    """promtool accepts the files that Prometheus reads."""
    folder = ROOT / "deploy" / "prometheus"
    done = subprocess.run([program("promtool"), "check", "config", folder / "prometheus.yml"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_everything_is_up_to_date():
    """Dashboards, rules and the page match their descriptions; `make dashboards` updates them."""
    for path, content in files().items():
        assert path.read_text() == content, path
    assert {path.name for path in (ROOT / "deploy" / "grafana" / "dashboards").iterdir()} == {f"{board.uid}.json" for board in BOARDS}


def test_every_runbook_is_there():
    """Each alert links to a section of the page that says what to do, and each panel's runbook is an alert."""
    headings = {heading.lower() for heading in re.findall(r"^## (\w+)$", (ROOT / "docs" / "alerts.md").read_text(), re.MULTILINE)}
    alerts = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text())["groups"][0]["rules"]
    for alert in alerts:
        assert set(alert["annotations"]) == {"summary", "runbook_url"}
        assert alert["labels"]["severity"] in ("page", "ticket")
        path, _, anchor = alert["annotations"]["runbook_url"].partition("#")
        assert Path(path).name == "alerts.md"
        assert anchor in headings
    named = {panel.runbook for board in BOARDS for panel in board.panels if panel.runbook}
    assert named <= {alert.name for alert in ALERTS}
    assert all(alert.steps for alert in ALERTS)
