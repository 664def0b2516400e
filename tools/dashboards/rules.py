"""Recording rules: expressions that several panels and alerts share."""

from typing import Final

from tools.dashboards.model import Rule

HIGH_WITHIN_SECONDS: Final = 600
"""The objective: 95 % of high-priority runs, not counting replays, end within ten minutes of their event."""

_ON_TIME: Final = 'outcome="completed",priority="high",replay="no"'

RULES: Final = (
    Rule("extents:runs:rate5m", "sum by (outcome, priority) (rate(extents_runs_total[5m]))"),
    Rule(
        "extents:runs_failed:ratio1h",
        'sum(increase(extents_runs_total{outcome="failed"}[1h])) / (sum(increase(extents_runs_total[1h])) > 0)',
    ),
    Rule(
        "extents:high_runs_in_time:ratio1h",
        f'sum(increase(extents_request_to_outcome_seconds_bucket{{{_ON_TIME},le="{HIGH_WITHIN_SECONDS}.0"}}[1h]))'
        f" / (sum(increase(extents_request_to_outcome_seconds_count{{{_ON_TIME}}}[1h])) > 0)",
    ),
    Rule("extents:gpu_busy:ratio5m", "rate(extents_gpu_seconds_total[5m])"),
    Rule("extents:gpu_backlog_seconds", "max by (priority) (extents_gpu_backlog_seconds)"),
    Rule("extents:gpu_backlog_spans", "max by (priority) (extents_gpu_backlog_spans)"),
    Rule(
        "extents:label_share:ratio1h",
        "sum by (model_version, label) (increase(extents_label_pairs_total[1h]))"
        " / ignoring(label) group_left() (sum by (model_version) (increase(extents_label_pairs_total[1h])) > 0)",
    ),
    Rule(
        "extents:label_share:ratio7d",
        "sum by (model_version, label) (increase(extents_label_pairs_total[7d]))"
        " / ignoring(label) group_left() (sum by (model_version) (increase(extents_label_pairs_total[7d])) > 0)",
    ),
)
