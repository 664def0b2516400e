"""Every metric of the service, in one place. Base units; labels are bounded, never a run or a video."""

from prometheus_client import Counter, Gauge, Histogram

STAGE_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
RUN_SECONDS = (1, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600, 14_400, 86_400)

REQUESTS = Counter("extents_requests_total", "video.encoded records by decision.", ["decision", "priority"])
REJECTIONS = Counter("extents_rejections_total", "Rejected requests by type.", ["rejection_type"])
REPLAY_ITEMS = Gauge(
    "extents_replay_items", "Items of the active replays that this coordinator carries out, by what became of them.", ["state"]
)
RUNS = Counter("extents_runs_total", "Runs finished, by outcome.", ["outcome"])
RUN_DURATION = Histogram("extents_run_duration_seconds", "Time from run_started to the outcome.", ["outcome"], buckets=RUN_SECONDS)
FINISH_DURATION = Histogram("extents_finish_duration_seconds", "Time to build, store and announce a run.", buckets=STAGE_SECONDS)
EVENTS = Counter("extents_events_total", "Outcome events sent and confirmed.", ["event"])
RESULT_RECORDS = Counter("extents_result_records_total", "Records of inference.results by kind and disposition.", ["kind", "disposition"])
ACTIVE_RUNS = Gauge("extents_active_runs", "Runs without an outcome in this coordinator's partitions.")
UNFINISHED_RUNS = Gauge("extents_unfinished_runs", "Runs in this coordinator's partitions whose outcome is not announced yet.")
OLDEST_UNFINISHED = Gauge("extents_oldest_unfinished_run_seconds", "Age of the oldest run whose outcome is not announced yet.")

SPANS = Counter("extents_spans_total", "Work records by disposition.", ["disposition", "priority"])
PAIRS = Counter("extents_pairs_total", "Frame pairs predicted.", ["precision"])
STAGE_DURATION = Histogram(
    "extents_stage_duration_seconds", "A span's time in each stage of the GPU worker.", ["stage"], buckets=STAGE_SECONDS
)
GPU_SECONDS = Counter("extents_gpu_seconds_total", "Seconds of computation on the device.")
GPU_COST = Counter("extents_gpu_cost_usd_total", "Cost of those seconds at the configured price of a GPU hour.")
SPANS_HELD = Gauge("extents_spans_held", "Spans that this worker holds.", ["priority"])
SPAN_BYTES_HELD = Gauge("extents_span_bytes_held", "Bytes of chunks and frames that this worker holds.")
MODELS_LOADED = Gauge("extents_models_loaded", "Models in this worker's memory.")
MODELS_SUSPENDED = Gauge("extents_models_suspended", "Models suspended on this worker because they did not load.")

IN_FLIGHT = Gauge("extents_records_in_flight", "Records read and not yet acknowledged.", ["topic"])
OLDEST_RECORD = Gauge("extents_oldest_record_seconds", "Age of the oldest record read and not yet acknowledged.", ["topic"])
CONSUMER_LAG = Gauge("extents_consumer_lag_records", "Records behind the end of the topic, as reported by the brokers.", ["topic"])
DEAD_LETTERS = Counter("extents_dead_letters_total", "Records sent to the dead-letter topic.", ["topic", "reason"])
RECORD_FAILURES = Counter("extents_record_failures_total", "Attempts at a record that failed unexpectedly.", ["topic"])
RETRIES = Counter("extents_retries_total", "Retries after transient errors.", ["dependency"])
WAITING = Gauge("extents_waiting", "1 while this process waits for a dependency.", ["dependency"])
BUILD = Gauge("extents_build_info", "Version of this process.", ["version", "role"])
