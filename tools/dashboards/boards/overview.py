"""Health, latency and cost at a glance."""

from typing import Final

from tools.dashboards.boards.selectors import PRIORITY, quantiles
from tools.dashboards.model import Board, Panel, Query, Row

OVERVIEW: Final = Board(
    "extents-overview",
    "Extents: overview",
    "Is the service healthy? What comes in, what goes out, how long it takes, and what it costs.",
    (
        Row(
            "Now",
            (
                Panel(
                    "In time",
                    "High-priority runs of the last hour that ended within ten minutes of their event, replays not"
                    " counted. The objective is 95 %.",
                    "percentunit",
                    [Query("extents:high_runs_in_time:ratio1h")],
                    "figure",
                    runbook="ExtentsLate",
                ),
                Panel(
                    "Failed",
                    "Share of the last hour's runs that failed.",
                    "percentunit",
                    [Query("extents:runs_failed:ratio1h")],
                    "figure",
                    runbook="ExtentsRunsFail",
                ),
                Panel(
                    "GPU backlog",
                    "Time that one GPU would need for the waiting work.",
                    "s",
                    [Query(f"extents:gpu_backlog_seconds{{{PRIORITY}}}", "{{priority}}")],
                    "figure",
                    runbook="ExtentsGpuBacklogGrowing",
                ),
                Panel(
                    "Spent today",
                    "GPU time of the runs completed since midnight UTC.",
                    "currencyUSD",
                    [Query("max(extents_spend_today_usd)")],
                    "figure",
                    runbook="ExtentsSpend",
                ),
                Panel(
                    "To look at",
                    "Rejections and dead letters that nobody has handled.",
                    "none",
                    [
                        Query("max(sum without (rejection_type) (extents_unacknowledged_rejections))", "rejections"),
                        Query("max(sum without (reason) (extents_unhandled_dead_letters))", "dead letters"),
                    ],
                    "figure",
                    runbook="ExtentsDeadLetters",
                ),
                Panel(
                    "Ready",
                    "Workers that are alive and not waiting, by role.",
                    "none",
                    [Query("sum by (role) (extents_ready * on (instance) group_left(role) extents_build_info)", "{{role}}")],
                    "figure",
                    runbook="ExtentsCoordinatorDown",
                ),
            ),
        ),
        Row(
            "Flow",
            (
                Panel(
                    "Requests",
                    "Records of video.encoded by decision.",
                    "reqps",
                    [Query(f"sum by (decision) (rate(extents_requests_total{{{PRIORITY}}}[$__rate_interval]))", "{{decision}}")],
                    stacked=True,
                ),
                Panel(
                    "Runs",
                    "Runs finished, by outcome.",
                    "ops",
                    [Query(f"sum by (outcome) (rate(extents_runs_total{{{PRIORITY}}}[$__rate_interval]))", "{{outcome}}")],
                    stacked=True,
                    runbook="ExtentsRunsFail",
                ),
                Panel(
                    "Rejections",
                    "Rejected requests in an hour, by type.",
                    "none",
                    [Query("sum by (rejection_type) (increase(extents_rejections_total[1h]))", "{{rejection_type}}")],
                    stacked=True,
                    runbook="ExtentsRejections",
                ),
                Panel(
                    "Unfinished jobs",
                    "Jobs that are queued or running.",
                    "none",
                    [Query(f"max by (status, priority) (extents_jobs{{{PRIORITY}}})", "{{priority}} {{status}}")],
                    stacked=True,
                ),
            ),
        ),
        Row(
            "How late",
            (
                Panel(
                    "From the event to run_started",
                    "Admission: waiting to be read, looked up and decided.",
                    "s",
                    quantiles("extents_request_to_start_seconds", f'{PRIORITY},replay="no"'),
                ),
                Panel(
                    "From the event to the first span",
                    "Admission, and waiting for a GPU.",
                    "s",
                    quantiles("extents_request_to_first_span_seconds", f'{PRIORITY},replay="no"'),
                ),
                Panel(
                    "From the event to the outcome",
                    "How long users wait. Replays are not counted.",
                    "s",
                    quantiles("extents_request_to_outcome_seconds", f'{PRIORITY},replay="no"'),
                    runbook="ExtentsLate",
                ),
                Panel(
                    "Oldest unfinished job",
                    "Age of the oldest job that has not ended.",
                    "s",
                    [Query(f"max by (priority) (extents_oldest_job_seconds{{{PRIORITY}}})", "{{priority}}")],
                    runbook="ExtentsOldestRun",
                ),
            ),
        ),
        Row(
            "Cost",
            (
                Panel(
                    "Dollars an hour",
                    "GPU seconds at the configured price.",
                    "currencyUSD",
                    [Query("sum(rate(extents_gpu_cost_usd_total[$__rate_interval])) * 3600", "all GPU workers")],
                    runbook="ExtentsSpend",
                ),
                Panel(
                    "Pairs a second",
                    "Frame pairs predicted by all GPU workers.",
                    "ops",
                    [Query("sum by (precision) (rate(extents_pairs_total[$__rate_interval]))", "{{precision}}")],
                ),
            ),
        ),
    ),
)
