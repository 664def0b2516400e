"""Whether records arrive, are read and are acknowledged."""

from typing import Final

from tools.dashboards.model import Board, Panel, Query, Row

DELIVERY: Final = Board(
    "extents-delivery",
    "Extents: Kafka and delivery",
    "Whether records arrive, are read and are acknowledged, and what the workers wait for.",
    (
        Row(
            "Records",
            (
                Panel(
                    "Lag",
                    "Records behind the end of each topic.",
                    "none",
                    [Query("sum by (topic) (extents_consumer_lag_records)", "{{topic}}")],
                ),
                Panel(
                    "Oldest record in hand",
                    "Age of the oldest record read and not yet acknowledged.",
                    "s",
                    [Query("max by (topic) (extents_oldest_record_seconds)", "{{topic}}")],
                ),
                Panel(
                    "In flight",
                    "Records read and not yet acknowledged.",
                    "none",
                    [Query("sum by (topic) (extents_records_in_flight)", "{{topic}}")],
                ),
                Panel(
                    "Records of the run log",
                    "By how they were handled; repeated and late ones are harmless.",
                    "ops",
                    [Query("sum by (disposition) (rate(extents_result_records_total[$__rate_interval]))", "{{disposition}}")],
                    stacked=True,
                ),
            ),
        ),
        Row(
            "Trouble",
            (
                Panel(
                    "Rebalances",
                    "In ten minutes, by role.",
                    "none",
                    [Query("sum by (job) (increase(extents_rebalances_total[10m]))", "{{job}}")],
                ),
                Panel(
                    "Dead letters",
                    "Sent in an hour, by reason.",
                    "none",
                    [Query("sum by (reason) (increase(extents_dead_letters_total[1h]))", "{{reason}}")],
                    stacked=True,
                    runbook="ExtentsDeadLetters",
                ),
                Panel(
                    "Retries",
                    "Steps retried because of an error that may pass.",
                    "ops",
                    [Query("sum by (dependency) (rate(extents_retries_total[$__rate_interval]))", "{{dependency}}")],
                ),
                Panel(
                    "Open breakers",
                    "Workers that wait for a dependency.",
                    "none",
                    [Query("sum by (dependency) (extents_waiting)", "{{dependency}}")],
                    runbook="ExtentsBreakerOpen",
                ),
                Panel(
                    "Restarts",
                    "Restarts of each process in 30 minutes.",
                    "none",
                    [Query('changes(process_start_time_seconds{job=~"coordinator|gpu-worker"}[30m])', "{{job}} {{instance}}")],
                    runbook="ExtentsRestarts",
                ),
                Panel(
                    "Processor",
                    "Cores that each process uses.",
                    "none",
                    [Query('rate(process_cpu_seconds_total{job=~"coordinator|gpu-worker"}[$__rate_interval])', "{{job}} {{instance}}")],
                ),
            ),
        ),
    ),
)
