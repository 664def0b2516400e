"""Made-up rows of a database, for the pages in states that a test over the real stack would take long to reach."""

import math
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid5

from core.errors import TransientError
from storage.listings import Filter

PAIRS: Final = 5_400
_NAMES: Final = UUID("5d0f4f5e-7c1c-4d53-9f3a-27a1d8a3c9b0")
OUTAGE: Final = "http://db.example:3000/rest/v1: ConnectError; check SUPABASE_URL, and that the database's API is running"


def name(text: str) -> str:
    """The same id in every run, so that pictures do not change without reason."""
    return str(uuid5(_NAMES, text))


RUN, VIDEO, TENANT = name("run finished"), name("video finished"), name("tenant")


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()


def job(number: int, status: str, done: float, requested: float, **changes: Any) -> dict[str, Any]:
    """A job with some minutes of film; ``done`` is a share, and ``requested`` the age in seconds."""
    pairs = 599 + 1_800 * (number * 7 % 11)
    ended = status in ("completed", "failed")
    return {
        "id": name(f"job {number}"),
        "run_id": name(f"run {number}"),
        "video_id": name(f"video {number}"),
        "tenant_id": TENANT,
        "cropped_frames_version": 1,
        "model_version": "mrn0fkfd",
        "status": status,
        "priority": "low" if number % 3 == 2 else "high",
        "attempt": 1,
        "replay_id": None,
        "pairs_total": pairs,
        "pairs_done": round(pairs * done),
        "gpu_seconds": pairs / 520 if ended else None,
        "created_at": ago(requested),
        "started_at": None if status == "queued" else ago(requested * 0.9),
        "completed_at": ago(max(0.0, requested - 3 - pairs / 180)) if ended else None,
        "updated_at": ago(requested / 2),
        "error_message": None,
        **changes,
    }


def replay(replay_id: str, state: str, items: int, over: int, **changes: Any) -> dict[str, Any]:
    progress = dict.fromkeys(("waiting", "undecided", "found", "rejected", "unfinished", "completed", "failed", "sampled"), 0)
    progress |= {"items": items, "completed": over, "waiting": max(0, items - over - 4), "unfinished": min(4, items - over)}
    progress |= {"gpu_seconds": over * 21.0, "waiting_usd": 0.0062 * (items - over), "open_usd": 0.02}
    return {
        "replay_id": replay_id,
        "state": state,
        "reason": None,
        "model_version": "mrn0fkfd-2",
        "force": False,
        "rate_per_minute": 60,
        "in_flight_limit": 20,
        "max_cost_usd": 20.0,
        "until_at": None,
        "sample_size": 0,
        "sample": None,
        "max_change": 0.02,
        "source": {"items": items},
        "created_by": "ada",
        "created_at": ago(5_000),
        "progress": progress,
        **changes,
    }


def activity(busy: bool) -> list[dict[str, Any]]:
    rows = []
    for step in range(60):
        wave = 0.5 + 0.5 * math.sin(step / 7) if busy else 0.0
        low = max(0.0, 62_000 - 1_150 * step) if busy and step > 12 else 0.0
        rows.append(
            {
                "at": ago(60 * (59 - step)),
                "pairs_per_second": (310 + 160 * wave + 25 * math.sin(step * 1.9)) if busy else 0.0,
                "high_pairs": 2_000 + 19_000 * wave**2 if busy else 0.0,
                "low_pairs": low,
                "high_runs": round(1 + 8 * wave) if busy else 0,
                "low_runs": round(low / 4_000),
            }
        )
    return rows


@dataclass
class SampleRows:
    """Returns these rows in place of ``Replays``."""

    state: str
    finished: dict[str, Any] = field(
        default_factory=lambda: job(
            9,
            "completed",
            1,
            340,
            run_id=RUN,
            video_id=VIDEO,
            pairs_total=PAIRS,
            pairs_done=PAIRS,
            started_at=ago(335),
            completed_at=ago(311),
        )
    )

    async def live_page(self, since: datetime, today: datetime, shown: int) -> dict[str, Any]:
        if self.state == "error":
            raise TransientError(OUTAGE)
        if self.state == "empty":
            overview: dict[str, Any] = {"jobs": [], "completed": 0, "failed": 0, "unacknowledged_rejections": 0, "gpu_seconds_today": 0.0}
            return {"overview": overview, "in_progress": [], "recent": [], "rejections": []}
        running = [job(number, "running", share, 20 + 31 * number) for number, share in ((1, 0.82), (3, 0.46), (4, 0.31), (2, 0.07))]
        queued = [job(number, "queued", 0, 12 + number) for number in (6, 7, 5)]
        counts = [("high", "queued", 2), ("high", "running", 3), ("low", "queued", 1), ("low", "running", 1)]
        rows = [{"priority": priority, "status": status, "count": count} for priority, status, count in counts]
        rejections = await self._rejections()
        return {
            "overview": {
                "jobs": rows,
                "completed": 148,
                "failed": 1,
                "unacknowledged_rejections": len(rejections),
                "gpu_seconds_today": 41_300.0,
            },
            "in_progress": [*running, *queued],
            "recent": self._recent(),
            "rejections": rejections,
        }

    def _recent(self) -> list[dict[str, Any]]:
        broken = job(11, "failed", 0.2, 900, error_message="modulo_1/chunk_0000000097.webm holds 31 frames; expected 32")
        return [self.finished, job(8, "completed", 1, 410), job(10, "completed", 1, 620), broken, job(12, "completed", 1, 1_500)]

    async def _rejections(self) -> list[dict[str, Any]]:
        messages = [
            ("frame_count_exceeded", "frame_count is 250000; the limit is 200000 (EXTENTS_MAX_FRAME_COUNT)", 480),
            ("validation_failed", "modulo_4/chunk_0000000004.webm is not in the store; video.encoded named 18000 frames", 2_900),
        ]
        return [
            {
                "id": name(f"rejection {number}"),
                "video_id": name(f"refused {number}"),
                "tenant_id": TENANT,
                "rejection_type": kind,
                "rejection_message": message,
                "acknowledged": False,
                "created_at": ago(seconds),
            }
            for number, (kind, message, seconds) in enumerate(messages)
        ]

    async def live_replays(self, since: datetime) -> list[dict[str, Any]]:
        if self.state != "busy":
            return []
        return [replay("new-model-2026", "running", 1_200, 512), self._paused()]

    def _paused(self) -> dict[str, Any]:
        worst = [
            {"video_id": name("worst"), "change": 0.31, "moved": 9, "added": 4, "lost": 1, "before": name("before"), "after": name("after")}
        ]
        sample = {"videos": 20, "compared": 20, "captions": 4_310, "change": 0.034, "worst": worst}
        reason = "3.4% of 4310 captions changed in the sample, more than 2.0%; most in video " + name("worst")
        return replay("shadow-test", "paused", 400, 20, reason=reason, sample=sample, sample_size=20, rate_per_minute=None)

    async def activity(self, first: datetime, last: datetime, steps: int) -> list[dict[str, Any]]:
        return activity(self.state == "busy")

    async def job(self, text: str) -> dict[str, Any] | None:
        rows = [self.finished, job(1, "running", 0.82, 51)]
        return next((row for row in rows if row["run_id"] == text), None)

    async def run(self, text: str) -> dict[str, Any] | None:
        return self._history()[0] if text == RUN else None

    def _history(self) -> list[dict[str, Any]]:
        key = f"videos/{TENANT}/{VIDEO}/caption_frame_extents/v1_model-mrn0fkfd_run-{RUN}.db"
        row = {"run_id": RUN, "wasabi_storage_key": key, "deleted_at": None, "superseded_by": None, "model_version": "mrn0fkfd"}
        return [{**row, "total_pairs": PAIRS, "completed_at": self.finished["completed_at"]}]

    async def replay(self, replay_id: str) -> dict[str, Any] | None:
        return self._paused() if replay_id == "shadow-test" else None

    async def replay_progress(self, replay_id: str) -> dict[str, Any]:
        progress: dict[str, Any] = self._paused()["progress"]
        return progress

    async def jobs(self, chosen: Filter, limit: int | None = None) -> AsyncIterator[dict[str, Any]]:
        if str(chosen.video_id) == VIDEO:
            yield self.finished

    async def run_history(self, chosen: Filter, limit: int | None = None) -> AsyncIterator[dict[str, Any]]:
        for row in self._history():
            if str(chosen.video_id) == VIDEO:
                yield row

    async def rejections(self, chosen: Filter, limit: int | None = None) -> AsyncIterator[dict[str, Any]]:
        if str(chosen.video_id) == VIDEO:
            message = "no layout.db for this video; expected videos/…/layout.db or the same key with .gz"
            refused = (await self._rejections())[0] | {"rejection_type": "validation_failed", "rejection_message": message}
            yield refused | {"created_at": ago(4_000), "acknowledged": True, "video_id": VIDEO}

    async def requests(self, chosen: Filter, limit: int | None = None) -> AsyncIterator[dict[str, Any]]:
        if str(chosen.video_id) == VIDEO:
            common = {"source_topic": "video.encoded", "source_partition": 3, "priority": "high", "attempt": 1}
            started = {"request_id": name("request"), "source_offset": 1_207, "decision": "run", "run_id": RUN, "created_at": ago(340)}
            refused = {"request_id": name("rejection 0"), "source_offset": 1_131, "decision": "rejected", "run_id": None}
            yield common | started
            yield common | refused | {"created_at": ago(4_000)}
