"""Every metric of the service, in one place. Base units; labels are bounded, never a run or a video.

``docs/metrics.md`` is generated from this module. The ids of a run and its trace go into exemplars, which cost no series.
"""

from typing import Final

from core.admission import Decision
from core.metric_kinds import (
    COORDINATOR,
    EVERY_ROLE,
    GPU_WORKER,
    BoundedValues,
    Label,
    counter,
    gauge,
    histogram,
    owned_gauge,
)
from core.types import LABELS, Outcome, Precision, RejectionType
from core.types import Priority as PriorityOfRuns

STAGE_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
RUN_SECONDS = (1, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600, 14_400, 86_400)

CONFIDENCE_BANDS: Final = ("0-0.5", "0.5-0.6", "0.6-0.7", "0.7-0.8", "0.8-0.9", "0.9-0.95", "0.95-0.99", "0.99-0.999", "0.999-1")
"""Narrower where most of a trained model's confidences lie."""

model_label = BoundedValues(20)
"""A model version as a label: the first 20 versions that a process uses keep their names, and all others become ``other``."""

PRIORITY = Label("priority", tuple(PriorityOfRuns))
REPLAY = Label("replay", ("no", "yes"))
OUTCOME = Label("outcome", tuple(Outcome))
REASON = Label("reason", ("undecodable", "refused", "poison", "span_failed", "unknown_video", "unexpected"))
"""Why a record became a dead letter, as its header says."""
DEPENDENCY = Label("dependency", ("object_store", "database", "kafka"))
STAGE = Label("stage", ("fetch", "decode", "predict", "send"))
TOPIC = Label("topic", bound="the installation's topics")
MODEL = Label("model_version", bound="20 by name, then `other`")
DISPOSITION = Label("disposition", ("done", "sent_again", "failed", "cancelled", "poison"))
ISSUE_KIND = Label("kind", ("direction_conflict", "incoherent", "single_frame", "doubtful"))
LOG_KINDS: Final = (
    "run_started",
    "run_joined",
    "span_taken",
    "span_done",
    "span_failed",
    "deadline_passed",
    "run_cancelled",
    "run_finished",
    "unknown",
)

# Requests and outcomes.
REQUESTS = counter(
    "extents_requests_total",
    "video.encoded records by decision.",
    COORDINATOR,
    Label("decision", (*(decision for decision in Decision if decision is not Decision.RECHECK), "undecodable", "refused")),
    PRIORITY,
    REPLAY,
)
REJECTIONS = counter("extents_rejections_total", "Rejected requests by type.", COORDINATOR, Label("rejection_type", tuple(RejectionType)))
RUNS = counter("extents_runs_total", "Runs finished, by outcome.", COORDINATOR, OUTCOME, PRIORITY, REPLAY)
EVENTS = counter(
    "extents_events_total",
    "Outcome events sent and confirmed.",
    COORDINATOR,
    Label("event", ("inference.completed", "inference.rejected", "inference.failed")),
)
RUN_DURATION = histogram(
    "extents_run_duration_seconds", "From run_started to the outcome.", COORDINATOR, OUTCOME, PRIORITY, REPLAY, buckets=RUN_SECONDS
)
REQUEST_TO_START = histogram(
    "extents_request_to_start_seconds", "From the event to run_started.", COORDINATOR, PRIORITY, REPLAY, buckets=RUN_SECONDS
)
REQUEST_TO_FIRST_SPAN = histogram(
    "extents_request_to_first_span_seconds", "From the event to the first span_taken.", COORDINATOR, PRIORITY, REPLAY, buckets=RUN_SECONDS
)
REQUEST_TO_OUTCOME = histogram(
    "extents_request_to_outcome_seconds", "From the event to the outcome.", COORDINATOR, OUTCOME, PRIORITY, REPLAY, buckets=RUN_SECONDS
)
FINISH_DURATION = histogram(
    "extents_finish_duration_seconds", "Building, storing and announcing a run.", COORDINATOR, buckets=STAGE_SECONDS
)
RESULT_RECORDS = counter(
    "extents_result_records_total",
    "Records of inference.results by kind and by how they were handled.",
    COORDINATOR,
    Label("kind", LOG_KINDS),
    Label("disposition", ("counted", "repeated", "late", "refused", "poison")),
)
ACTIVE_RUNS = gauge("extents_active_runs", "Runs of this coordinator's partitions that have no outcome yet.", COORDINATOR)
UNFINISHED_RUNS = gauge(
    "extents_unfinished_runs", "Runs of this coordinator's partitions with an outcome that is not announced yet.", COORDINATOR
)
OLDEST_UNFINISHED = gauge("extents_oldest_unfinished_run_seconds", "Age of the oldest run that is not announced yet.", COORDINATOR)

# Unfinished work in the whole installation, reported by one coordinator at a time.
JOBS = owned_gauge("extents_jobs", "Unfinished jobs.", Label("status", ("queued", "running")), PRIORITY)
OLDEST_JOB = owned_gauge("extents_oldest_job_seconds", "Age of the oldest unfinished job; 0 if there is none.", PRIORITY)
UNACKNOWLEDGED_REJECTIONS = owned_gauge(
    "extents_unacknowledged_rejections",
    "Rejections of the last 30 days that nobody has acknowledged.",
    Label("rejection_type", tuple(RejectionType)),
)
UNHANDLED_LETTERS = owned_gauge("extents_unhandled_dead_letters", "Dead letters neither redriven nor discarded.", REASON)
REPLAYS = owned_gauge("extents_replays", "Replays that have not ended.", Label("state", ("sampling", "running", "paused")))
REPLAY_ITEMS = owned_gauge(
    "extents_replay_items",
    "Videos of the replays that have not ended.",
    Label("state", ("waiting", "undecided", "found", "rejected", "unfinished", "completed", "failed")),
)
LAST_PROMOTION = owned_gauge(
    "extents_last_promotion_timestamp_seconds",
    "Time of the last promotion or rollback, with the model that it put in force; 0 and `none` if there was none.",
    MODEL,
)
SPEND_TODAY = owned_gauge("extents_spend_today_usd", "Dollars for the GPU seconds of runs completed since midnight UTC.")
BACKLOG_SPANS = owned_gauge("extents_gpu_backlog_spans", "Spans in the work topics that no GPU worker has acknowledged.", PRIORITY)
BACKLOG_SECONDS = owned_gauge(
    "extents_gpu_backlog_seconds", "Time that one GPU would need for the backlog, at the measured speed. Scale on this.", PRIORITY
)
GPU_SPEED = owned_gauge("extents_gpu_pairs_per_second", "Pairs that one GPU computes per second, measured over the latest spans.")
GPU_WORKERS = owned_gauge("extents_gpu_workers", "GPU workers in their consumer group.")

# The GPU workers.
SPANS = counter(
    "extents_spans_total", "Work records by how they were handled.", GPU_WORKER, DISPOSITION, Label("priority", ("high", "low", "unknown"))
)
SPAN_WAIT = histogram(
    "extents_span_wait_seconds", "From a span's record to the first time a worker reads it.", GPU_WORKER, PRIORITY, buckets=RUN_SECONDS
)
PAIRS = counter("extents_pairs_total", "Frame pairs predicted.", GPU_WORKER, Label("precision", tuple(Precision)))
STAGE_DURATION = histogram(
    "extents_stage_duration_seconds", "A span's time in each stage of the GPU worker.", GPU_WORKER, STAGE, buckets=STAGE_SECONDS
)
GPU_SECONDS = counter("extents_gpu_seconds_total", "Seconds in which the device computed; the rate is the busy share.", GPU_WORKER)
GPU_COST = counter("extents_gpu_cost_usd_total", "Cost of those seconds in dollars, at EXTENTS_GPU_USD_PER_HOUR.", GPU_WORKER)
GPU_MEMORY = gauge("extents_gpu_memory_bytes", "The device's memory; 0 on a CPU.", GPU_WORKER, Label("kind", ("used", "peak", "total")))
FETCHED_BYTES = counter("extents_fetched_bytes_total", "Bytes of chunks fetched from the store.", GPU_WORKER)
DECODED_BYTES = counter("extents_decoded_bytes_total", "Bytes of frames decoded.", GPU_WORKER)
SPANS_HELD = gauge("extents_spans_held", "Spans this worker holds.", GPU_WORKER, PRIORITY)
SPAN_BYTES_HELD = gauge("extents_span_bytes_held", "Bytes of chunks and frames this worker holds.", GPU_WORKER)
MODELS_LOADED = gauge("extents_models_loaded", "Models in this worker's memory.", GPU_WORKER)
MODELS_SUSPENDED = gauge("extents_models_suspended", "Models that did not load on this worker and are not retried yet.", GPU_WORKER)
MODEL_CACHE = counter(
    "extents_model_cache_requests_total",
    "Requests for weights, by whether they were on the worker's disk.",
    GPU_WORKER,
    Label("result", ("hit", "miss")),
)
MODEL_INFO = gauge(
    "extents_model_info",
    "1 for each model in this worker's memory.",
    GPU_WORKER,
    MODEL,
    Label("precision", tuple(Precision)),
    Label("compiled", ("true", "false")),
)
BATCH_SIZE = gauge("extents_batch_size", "Pairs in one forward pass, as set.", GPU_WORKER)
DEVICE_INFO = gauge("extents_device_info", "The device this worker computes on.", GPU_WORKER, Label("device", bound="one per process"))

# The models' predictions, to notice drift.
LABEL_PAIRS = counter("extents_label_pairs_total", "Pairs of finished runs by label.", COORDINATOR, MODEL, Label("label", tuple(LABELS)))
CONFIDENCE_PAIRS = counter(
    "extents_confidence_pairs_total",
    "Pairs of finished runs by the probability of the likeliest label.",
    COORDINATOR,
    MODEL,
    Label("direction", ("forward", "backward")),
    Label("confidence", CONFIDENCE_BANDS),
)
QUALITY_ISSUES = counter(
    "extents_quality_issues_total",
    "Quality issues of finished runs.",
    COORDINATOR,
    MODEL,
    ISSUE_KIND,
)
CAPTIONS = counter("extents_captions_total", "Captions of finished runs.", COORDINATOR, MODEL)
FILM_SECONDS = counter("extents_film_seconds_total", "Length of the films of finished runs.", COORDINATOR, MODEL)

# Kafka, and other dependencies of both workers.
IN_FLIGHT = gauge("extents_records_in_flight", "Records read and not yet acknowledged.", EVERY_ROLE, TOPIC)
OLDEST_RECORD = gauge("extents_oldest_record_seconds", "Age of the oldest record read and not yet acknowledged.", EVERY_ROLE, TOPIC)
CONSUMER_LAG = gauge("extents_consumer_lag_records", "Records behind the end of the topic, as the broker reports.", EVERY_ROLE, TOPIC)
REBALANCES = counter("extents_rebalances_total", "Rebalances of the consumer group that this worker took part in.", EVERY_ROLE)
DEAD_LETTERS = counter("extents_dead_letters_total", "Records sent to the dead-letter topic.", EVERY_ROLE, TOPIC, REASON)
RECORD_FAILURES = counter("extents_record_failures_total", "Attempts at a record that failed unexpectedly.", EVERY_ROLE, TOPIC)
RETRIES = counter("extents_retries_total", "Steps retried because of an error that may pass.", EVERY_ROLE, DEPENDENCY)
WAITING = gauge("extents_waiting", "1 while this process waits for a dependency: its circuit breaker is open.", EVERY_ROLE, DEPENDENCY)
OUTAGES = counter("extents_outages_total", "Times a dependency stopped answering: its circuit breaker opened.", EVERY_ROLE, DEPENDENCY)
READY = gauge("extents_ready", "1 while this process is alive and not waiting.", EVERY_ROLE)
BUILD = gauge(
    "extents_build_info",
    "Version of this process.",
    EVERY_ROLE,
    Label("version", bound="one per process"),
    Label("role", ("coordinator", "gpu-worker")),
)
