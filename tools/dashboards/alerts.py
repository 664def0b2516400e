"""Every alert: when it fires, and what to do then. ``docs/alerts.md`` is generated from this module."""

from typing import Final

from tools.dashboards.model import Alert

ALERTS: Final = (
    Alert(
        "ExtentsCoordinatorDown",
        "page",
        'absent(extents_ready * on (instance) group_left() extents_build_info{role="coordinator"} == 1)',
        "5m",
        "No coordinator is ready.",
        "No coordinator is ready: no request is admitted and no run is finished. Nothing is lost: events and results wait in their topics.",
        (
            "Read `/readyz` of each coordinator, whose body gives the reasons, or look at `kubectl get pods`.",
            "`extents doctor --role coordinator` in its image tries every dependency and says how to fix it.",
        ),
    ),
    Alert(
        "ExtentsWorkerNotReady",
        "ticket",
        "extents_ready == 0",
        "10m",
        "{{ $labels.job }} {{ $labels.instance }} has not been ready for 10 minutes.",
        "A worker waits for a dependency or for its group, or one of its steps runs over its limit.",
        (
            "Read its `/readyz`, and its log for `dependency.unreachable` and `process.hung`.",
            "Restart it if its own state is the reason: its work moves to others.",
        ),
    ),
    Alert(
        "ExtentsWorkerLost",
        "ticket",
        'up{job=~"coordinator|gpu-worker"} == 0',
        "5m",
        "{{ $labels.job }} {{ $labels.instance }} cannot be scraped.",
        "A process has ended or hangs, or the network between it and Prometheus is broken. Its partitions have moved to others.",
        (
            "Look at its exit status: 70 means a hung step, 137 usually too little memory.",
            "Check that another worker took over: the backlog must fall.",
        ),
    ),
    Alert(
        "ExtentsRestarts",
        "ticket",
        'changes(process_start_time_seconds{job=~"coordinator|gpu-worker"}[30m]) > 3',
        "0m",
        "{{ $labels.job }} {{ $labels.instance }} restarted {{ $value }} times in 30 minutes.",
        "A worker ends again and again. A record that kills its workers is quarantined after some tries, and its run fails after ten.",
        ("Read the last lines of its log before each end.", "`extents dead-letters list` shows whether a span was given up."),
    ),
    Alert(
        "ExtentsGpuBacklogGrowing",
        "page",
        'extents:gpu_backlog_seconds{priority="high"} > 900 and deriv(extents:gpu_backlog_seconds{priority="high"}[15m]) > 0',
        "10m",
        "{{ $value | humanizeDuration }} of high-priority GPU work is waiting, and the backlog grows.",
        "More work comes in than the GPU workers can do: high-priority runs will miss their objective.",
        (
            "Start more GPU workers: as many as the backlog in seconds divided by the seconds that you have.",
            "If the workers are not busy, see ExtentsGpuIdle.",
        ),
    ),
    Alert(
        "ExtentsNoProgress",
        "page",
        "sum(extents:gpu_backlog_spans) > 0 and on () (sum(increase(extents_spans_total[10m])) == 0 or absent(extents_spans_total))",
        "10m",
        "{{ $value }} spans wait, and none was done in 10 minutes.",
        "GPU work waits and no span is processed: there is no GPU worker, or all of them wait.",
        ("Check `extents_gpu_workers` and `/readyz` of the GPU workers.", "If workers scale from zero, check the scaler."),
    ),
    Alert(
        "ExtentsGpuIdle",
        "ticket",
        "sum(extents:gpu_backlog_spans) > 20 and on () avg(extents:gpu_busy:ratio5m) < 0.2",
        "15m",
        "{{ $value }} spans wait, and the GPUs are busy less than a fifth of the time.",
        "The workers rarely compute: fetching or decoding is slow, or only few partitions have work.",
        (
            "The dashboard *GPU workers* shows which stage takes the time.",
            "Raise `EXTENTS_FETCH_CONCURRENCY` or `EXTENTS_DECODE_THREADS`, or check the store.",
        ),
    ),
    Alert(
        "ExtentsRunsFail",
        "page",
        "extents:runs_failed:ratio1h > 0.05 and on () sum(increase(extents_runs_total[1h])) >= 20",
        "10m",
        "{{ $value | humanizePercentage }} of the runs of the last hour failed.",
        "Users get `inference.failed`. A broken video explains a single failure; many come from a model, the store or a release.",
        ("`extents dead-letters list` shows the errors of failed spans.", "If it began with a promotion or a release, roll that back."),
    ),
    Alert(
        "ExtentsLate",
        "ticket",
        "extents:high_runs_in_time:ratio1h < 0.95",
        "30m",
        "Only {{ $value | humanizePercentage }} of the high-priority runs of the last hour ended within ten minutes.",
        "The objective is missed: 95 % of the high-priority runs end within ten minutes of their event, replays not counted.",
        (
            "The dashboard *Overview* shows where the time goes: admission, waiting for a GPU, computing.",
            "Usually there are too few GPU workers.",
        ),
    ),
    Alert(
        "ExtentsOldestRun",
        "ticket",
        'max(extents_oldest_job_seconds{priority="high"}) > 7200',
        "5m",
        "A high-priority run has been unfinished for {{ $value | humanizeDuration }}.",
        "A run is older than its deadline allows: it waits for its first span, or no coordinator notices the deadline.",
        (
            "The live page lists the unfinished jobs, the oldest among them.",
            "Check that a GPU worker reads the partitions of the work topic.",
        ),
    ),
    Alert(
        "ExtentsRejections",
        "ticket",
        "sum by (rejection_type) (increase(extents_rejections_total[1h])) > 10",
        "0m",
        "{{ $value }} requests were rejected in an hour: {{ $labels.rejection_type }}.",
        "A producer sends requests that cannot be admitted, or a limit is too low.",
        ("The live page shows each message, which names the actual value, the limit and its setting.",),
    ),
    Alert(
        "ExtentsRejectionsUnacknowledged",
        "ticket",
        "max(sum without (rejection_type) (extents_unacknowledged_rejections)) > 0",
        "1d",
        "{{ $value }} rejections are unacknowledged, and there have been some for a day.",
        "Requests were rejected, and nobody has looked at them.",
        ("Read them on the live page, and acknowledge those that are dealt with.",),
    ),
    Alert(
        "ExtentsDeadLetters",
        "ticket",
        "max(sum without (reason) (extents_unhandled_dead_letters)) > 0",
        "15m",
        "{{ $value }} dead letters wait.",
        "Records could not be handled, or a run failed for good. They are kept for 30 days.",
        ("`extents dead-letters list`, `show`, then `redrive` or `discard`.",),
    ),
    Alert(
        "ExtentsBreakerOpen",
        "page",
        "max by (dependency) (extents_waiting) == 1",
        "5m",
        "{{ $labels.dependency }} has not answered for 5 minutes.",
        "A dependency does not respond. Work that needs it waits, and continues once it responds again. Outages of the object store"
        " count toward no deadline.",
        ("Check the dependency itself and the network to it.", "`extents doctor` shows how it responds."),
    ),
    Alert(
        "ExtentsSpend",
        "ticket",
        "max(extents_spend_today_usd) > 100",
        "0m",
        "{{ $value | humanize }} dollars of GPU time since midnight UTC.",
        "The day's spending is above plan. Set the threshold in `tools/dashboards/alerts.py` to your own plan.",
        (
            "The dashboard *Replays* shows whether a replay is running; if so, pause it.",
            "`EXTENTS_DAILY_BUDGET_USD` limits the cost of a day, and `EXTENTS_MAX_HIGH_JOBS_PER_HOUR` the number of admitted jobs.",
        ),
    ),
    Alert(
        "ExtentsDrift",
        "ticket",
        "abs(extents:label_share:ratio1h - extents:label_share:ratio7d) > 0.2"
        " and on (model_version) sum by (model_version) (increase(extents_label_pairs_total[1h])) > 50000",
        "1h",
        "{{ $labels.model_version }}: the share of {{ $labels.label }} differs by {{ $value |"
        " humanizePercentage }} from the last seven days'.",
        "The model's predictions have changed: other films, another crop, or a broken encoder.",
        (
            "Open the report of a recent run (`extents report RUN`) and look at its doubtful boundaries.",
            "Ask whether the encoder or the crop changed.",
        ),
    ),
)
