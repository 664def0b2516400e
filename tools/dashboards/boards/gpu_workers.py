"""Where a span's time goes."""

from typing import Final

from tools.dashboards.boards.selectors import PRIORITY, WORKER, quantiles
from tools.dashboards.model import Board, Panel, Query, Row

GPU_WORKERS: Final = Board(
    "extents-gpu-workers",
    "Extents: GPU workers",
    "Where a span's time goes, and how busy the devices are.",
    (
        Row(
            "Work",
            (
                Panel(
                    "GPU backlog",
                    "Time that one GPU would need for the waiting work. Scale on this.",
                    "s",
                    [Query(f"extents:gpu_backlog_seconds{{{PRIORITY}}}", "{{priority}}")],
                    runbook="ExtentsGpuBacklogGrowing",
                ),
                Panel(
                    "GPU workers",
                    "Members of their consumer group.",
                    "none",
                    [Query("max(extents_gpu_workers)", "workers")],
                    runbook="ExtentsNoProgress",
                ),
                Panel(
                    "Spans",
                    "Work records by how they were handled.",
                    "ops",
                    [Query(f"sum by (disposition) (rate(extents_spans_total{{{WORKER}}}[$__rate_interval]))", "{{disposition}}")],
                    stacked=True,
                ),
                Panel(
                    "Waiting in the topic",
                    "From a span's record to the worker that reads it.",
                    "s",
                    quantiles("extents_span_wait_seconds", f"{PRIORITY},{WORKER}", "priority"),
                ),
            ),
        ),
        Row(
            "Devices",
            (
                Panel(
                    "Busy",
                    "Share of the time in which the device computed.",
                    "percentunit",
                    [Query(f"extents:gpu_busy:ratio5m{{{WORKER}}}", "{{instance}}")],
                    runbook="ExtentsGpuIdle",
                ),
                Panel(
                    "Pairs a GPU computes in a second",
                    "Measured over the last spans. Backlogs in seconds are computed from it.",
                    "ops",
                    [Query("max(extents_gpu_pairs_per_second)", "measured")],
                ),
                Panel(
                    "Memory",
                    "The device's memory: in use, at its peak, in total. 0 on a CPU.",
                    "bytes",
                    [Query(f"max by (kind) (extents_gpu_memory_bytes{{{WORKER}}})", "{{kind}}")],
                ),
                Panel(
                    "Batch size",
                    "Pairs in one forward pass.",
                    "none",
                    [Query(f"max by (instance) (extents_batch_size{{{WORKER}}})", "{{instance}}")],
                ),
            ),
        ),
        Row(
            "Stages",
            (
                Panel(
                    "Mean time of a span in each stage",
                    "The longest stage bounds the worker; fetching and decoding run beside the device.",
                    "s",
                    [
                        Query(
                            f"sum by (stage) (rate(extents_stage_duration_seconds_sum{{{WORKER}}}[$__rate_interval]))"
                            f" / (sum by (stage) (rate(extents_stage_duration_seconds_count{{{WORKER}}}[$__rate_interval])) > 0)",
                            "{{stage}}",
                        )
                    ],
                    runbook="ExtentsGpuIdle",
                ),
                Panel(
                    "Bytes",
                    "Fetched from the store, and decoded to frames.",
                    "Bps",
                    [
                        Query(f"sum(rate(extents_fetched_bytes_total{{{WORKER}}}[$__rate_interval]))", "fetched"),
                        Query(f"sum(rate(extents_decoded_bytes_total{{{WORKER}}}[$__rate_interval]))", "decoded"),
                    ],
                ),
                Panel(
                    "Spans held",
                    "One is computed, the others are fetched and decoded.",
                    "none",
                    [Query(f"sum by (priority) (extents_spans_held{{{WORKER}}})", "{{priority}}")],
                    stacked=True,
                ),
                Panel(
                    "Bytes held",
                    "Chunks and frames in memory.",
                    "bytes",
                    [Query(f"sum by (instance) (extents_span_bytes_held{{{WORKER}}})", "{{instance}}")],
                ),
            ),
        ),
        Row(
            "Models",
            (
                Panel(
                    "Models in memory",
                    "Workers that have each model loaded, and whether it is compiled.",
                    "none",
                    [
                        Query(
                            f"sum by (model_version, precision, compiled) (extents_model_info{{{WORKER}}})",
                            "{{model_version}} {{precision}} compiled={{compiled}}",
                        )
                    ],
                ),
                Panel(
                    "Requests for weights",
                    "Hits come from the worker's disk; misses are fetched from the store.",
                    "ops",
                    [Query(f"sum by (result) (rate(extents_model_cache_requests_total{{{WORKER}}}[$__rate_interval]))", "{{result}}")],
                ),
                Panel(
                    "Suspended models",
                    "Models that did not load and are not retried yet.",
                    "none",
                    [Query(f"sum by (instance) (extents_models_suspended{{{WORKER}}})", "{{instance}}")],
                ),
            ),
        ),
    ),
)
