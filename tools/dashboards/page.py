"""``docs/alerts.md``: what each alert means, and what to do."""

from tools.dashboards.alerts import ALERTS
from tools.dashboards.model import Alert

_HEAD = """\
# Alerts

Made by `make dashboards` from [the alerts](../tools/dashboards/alerts.py); a test fails when it is not up to date.

[`deploy/prometheus/alerts.yml`](../deploy/prometheus/alerts.yml) holds them for Prometheus, with the recording rules of `recording.yml`.
Severity `page`: users are hit now, or will be within the hour. Severity `ticket`: look within a working day. Thresholds are those of
a service with a few GPU workers; change them in the source to what you promise.

The rules expect the scrape jobs `coordinator` and `gpu-worker`, as in [`prometheus.yml`](../deploy/prometheus/prometheus.yml).
"""


def render_page() -> str:
    rows = [f"| [{alert.name}](#{alert.anchor}) | {alert.severity} | {alert.hold} |" for alert in ALERTS]
    table = "\n".join(["| alert | severity | after |", "| --- | --- | --- |", *rows])
    return "\n".join([_HEAD, table, "", *(_section(alert) for alert in ALERTS)])


def _section(alert: Alert) -> str:
    steps = "\n".join(f"{number}. {step}" for number, step in enumerate(alert.steps, start=1))
    return f"## {alert.name}\n\n{alert.meaning}\n\n{steps}\n\n```promql\n{alert.expr}\n```\n"
