"""Rules and alerts as Prometheus reads them."""

from typing import Any

import yaml

from tools.dashboards.alerts import ALERTS
from tools.dashboards.grafana import RUNBOOK_URL
from tools.dashboards.model import Alert
from tools.dashboards.rules import RULES


def render_rules() -> str:
    """``recording.yml``."""
    return _yaml(
        {"groups": [{"name": "extents", "interval": "30s", "rules": [{"record": rule.record, "expr": rule.expr} for rule in RULES]}]}
    )


def render_alerts() -> str:
    """``alerts.yml``."""
    return _yaml({"groups": [{"name": "extents-alerts", "rules": [_alert(alert) for alert in ALERTS]}]})


def _alert(alert: Alert) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "expr": alert.expr,
        "for": alert.hold,
        "labels": {"severity": alert.severity},
        "annotations": {"summary": alert.summary, "runbook_url": f"{RUNBOOK_URL}#{alert.anchor}"},
    }


def _yaml(value: object) -> str:
    head = "# Made by `make dashboards` from tools/dashboards; a test fails when it is not up to date.\n"
    return head + yaml.safe_dump(value, sort_keys=False, width=140, allow_unicode=True)
