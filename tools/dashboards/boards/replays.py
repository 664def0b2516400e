"""Replays and backfills."""

from typing import Final

from tools.dashboards.model import Board, Panel, Query, Row

REPLAYS: Final = Board(
    "extents-replays",
    "Extents: replays",
    "Replays and backfills: how far they are, and whether they disturb what users wait for.",
    (
        Row(
            "Progress",
            (
                Panel(
                    "Replays",
                    "Those that have not ended, by state.",
                    "none",
                    [Query("max by (state) (extents_replays)", "{{state}}")],
                    "figure",
                ),
                Panel(
                    "Videos",
                    "Videos of these replays, by state.",
                    "none",
                    [Query("max by (state) (extents_replay_items)", "{{state}}")],
                    stacked=True,
                ),
                Panel(
                    "Requests of replays",
                    "By decision.",
                    "reqps",
                    [Query('sum by (decision) (rate(extents_requests_total{replay="yes"}[$__rate_interval]))', "{{decision}}")],
                    stacked=True,
                ),
                Panel(
                    "Runs of replays",
                    "By outcome.",
                    "ops",
                    [Query('sum by (outcome) (rate(extents_runs_total{replay="yes"}[$__rate_interval]))', "{{outcome}}")],
                    stacked=True,
                ),
            ),
        ),
        Row(
            "What users wait for meanwhile",
            (
                Panel(
                    "High-priority runs in time",
                    "Runs of the last hour, replays not counted.",
                    "percentunit",
                    [Query("extents:high_runs_in_time:ratio1h", "within ten minutes")],
                    runbook="ExtentsLate",
                ),
                Panel(
                    "GPU backlog by priority",
                    "Time that one GPU would need.",
                    "s",
                    [Query("extents:gpu_backlog_seconds", "{{priority}}")],
                    stacked=True,
                ),
            ),
        ),
    ),
)
