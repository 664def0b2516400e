"""The output of ``extents status --json`` for three services: a busy one, an idle one, and one without a worker."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_DNS, uuid5

from core.workers import SeenWorker

AT = datetime(2026, 11, 28, 12, tzinfo=UTC)


def worker(name: str, role: str, *, up: timedelta, beat: float, **fields: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "instance": str(uuid5(NAMESPACE_DNS, name)),
        "version": "0.1.0",
        "beat_seconds": 10.0,
        "stopping": False,
        "faults": (),
        "waits": (),
        "models": (),
        "device": None,
        "pairs_per_second": None,
        "busy_share": None,
        "in_hand": 0,
    }
    host = name.partition(":")[0]
    at = {"started_at": AT - up, "last_beat_at": AT - timedelta(seconds=beat)}
    seen = SeenWorker(**{**plain, "worker": name, "host": host, "role": role, **at, **fields})
    return {**seen.as_json(AT), "up_seconds": up.total_seconds()}


def gpu(name: str, pairs: float, busy: float, spans: int, **fields: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"up": timedelta(hours=7), "beat": 4.0, "device": "NVIDIA A10G, 22 GiB", "models": ("builtin-5f0c1a2b",)}
    return worker(name, "gpu-worker", pairs_per_second=pairs, busy_share=busy, in_hand=spans, **{**given, **fields})


def busy() -> dict[str, Any]:
    """Two coordinators; of five GPU workers one waits for the store, one has a fault, and one was killed."""
    now = datetime.now(UTC)

    def jobs(priority: str, status: str, count: int, age: timedelta) -> dict[str, Any]:
        return {"priority": priority, "status": status, "count": count, "oldest_at": (now - age).isoformat()}

    pods = "extents-gpu-worker-6d5f8b7c9d"
    return {
        "at": AT,
        "groups": {
            "coordinator": {"state": "Stable", "members": [{}] * 2, "lag": {"video.encoded": 0}},
            "gpu-worker": {"state": "Stable", "members": [{}] * 4, "lag": {"inference.work.high": 0, "inference.work.low": 61}},
        },
        "workers": [
            worker("extents-coordinator-7f9c5d8b6-4kq2n:1", "coordinator", up=timedelta(days=3), beat=2.0, in_hand=3),
            worker("extents-coordinator-7f9c5d8b6-z8x7v:1", "coordinator", up=timedelta(days=3), beat=9.0, in_hand=2),
            gpu(f"{pods}-2mfjw:1", 104.2, 0.98, 3, models=("mrn0fkfd", "builtin-5f0c1a2b")),
            gpu(f"{pods}-b7cnh:1", 101.9, 0.95, 3),
            gpu(f"{pods}-hx5tp:1", 0.0, 0.0, 2, beat=1.0, waits=("object_store: unreachable, probed again in 7 s",)),
            gpu(
                f"{pods}-qlr9d:1",
                12.0,
                1.0,
                1,
                faults=("fetch 9a617b1f-0d4a-4c57-9a61-7b1f0c2d9e55:4 runs 12 s over its limit of 120 s (EXTENTS_FETCH_LIMIT_SECONDS)",),
            ),
            gpu(f"{pods}-v2k8s:1", 99.0, 0.9, 3, up=timedelta(minutes=40), beat=250.0),
        ],
        "heartbeats_error": None,
        "jobs": [
            jobs("high", "queued", 3, timedelta(seconds=125)),
            jobs("high", "running", 2, timedelta(seconds=90)),
            jobs("low", "queued", 18, timedelta(minutes=65)),
        ],
        "last_hour": {"completed": 212, "failed": 1, "decisions": {"found": 17, "rejected": 3}},
        "dead_letters": 1,
        "unacknowledged_rejections": 3,
        "replays": [{"replay_id": "new-model", "state": "running", "reason": None}],
        "model": {"version": "builtin-5f0c1a2b", "reason": "built in"},
        "today": {"gpu_seconds": 1.91 * 3600, "cost_usd": 1.91 * 1.10, "budget_usd": None},
    }


def idle() -> dict[str, Any]:
    """One worker of each role, and nothing to do since the migrations were applied."""
    status = busy()
    for group in status["groups"].values():
        group["members"], group["lag"] = [{}], dict.fromkeys(group["lag"], 0)
    status["workers"] = [
        worker("extents-1:8", "coordinator", up=timedelta(minutes=12), beat=3.0),
        gpu("extents-1:9", 0.0, 0.0, 0, up=timedelta(minutes=11), device="AMD EPYC 9R14 96-Core Processor, 2 threads"),
    ]
    nothing = {"completed": 0, "failed": 0, "decisions": {}}
    today = {"gpu_seconds": 0.0, "cost_usd": 0.0, "budget_usd": 20.0}
    return {**status, "jobs": [], "last_hour": nothing, "dead_letters": 0, "unacknowledged_rejections": 0, "replays": [], "today": today}


def deserted() -> dict[str, Any]:
    """Requests wait: the coordinator was stopped, and the GPU worker was killed."""
    status = busy()
    lags = {"coordinator": {"video.encoded": 4, "video.encoded.low": 0, "inference.results": 12}}
    lags["gpu-worker"] = {"inference.work.high": 31, "inference.work.low": 0}
    for role, group in status["groups"].items():
        group |= {"state": "Empty", "members": [], "lag": lags[role]}
    return {**status, "workers": [gpu("gpu-1:17", 99.0, 0.9, 3, beat=1300.0)], "replays": []}
