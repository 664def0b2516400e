"""What is outstanding in the whole installation, as gauges: jobs, rejections, letters, replays, and the GPUs' backlog.

Only the coordinator that has the first partition of the results topic reports it, because the figures cover all coordinators.
The backlog comes from the brokers, so it is known even if no GPU worker runs, as scaling from zero requires.
"""

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from core.errors import ExtentsError
from core.logging import get_logger
from core.metric_kinds import OwnedGauge
from core.metrics import (
    BACKLOG_SECONDS,
    BACKLOG_SPANS,
    GPU_SPEED,
    GPU_WORKERS,
    JOBS,
    LAST_PROMOTION,
    OLDEST_JOB,
    REPLAY_ITEMS,
    REPLAYS,
    SPEND_TODAY,
    UNACKNOWLEDGED_REJECTIONS,
    UNHANDLED_LETTERS,
    model_label,
)
from core.moments import parse_moment
from core.settings import KafkaSettings
from core.types import Priority, RejectionType
from storage.listings import Listings
from streams.coordinator.gpu_speed import GpuSpeed
from streams.kafka.group_state import GroupState, look_at_groups
from streams.kafka.waiting_letters import WaitingLetters
from streams.processing.app import ExtentsApp
from streams.runtime.circuit_breaker import CircuitBreaker
from streams.topics import GPU_WORKER, Topics

log = get_logger(__name__)

LOOK_EVERY_SECONDS: Final = 15.0
"""The usual interval of scrapes; each refresh sends a handful of requests to the brokers and the database."""

REJECTION_DAYS: Final = 30

_FROM_BROKERS: Final = (BACKLOG_SPANS, BACKLOG_SECONDS, GPU_SPEED, GPU_WORKERS)
_FROM_DATABASE: Final = (JOBS, OLDEST_JOB, UNACKNOWLEDGED_REJECTIONS, REPLAYS, REPLAY_ITEMS, SPEND_TODAY, LAST_PROMOTION)
_REPLAY_STATES: Final = ("sampling", "running", "paused")
_ITEM_STATES: Final = ("waiting", "undecided", "found", "rejected", "unfinished", "completed", "failed")


@dataclass(slots=True)
class Outstanding:
    """Refreshes while its process is the owner. An unknown figure has no series, rather than an old value."""

    app: ExtentsApp
    kafka: KafkaSettings
    topics: Topics
    listings: Listings
    database_breaker: CircuitBreaker
    gpu_speed: GpuSpeed
    usd_per_hour: float
    _letters: WaitingLetters | None = None
    _opened: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def run(self) -> None:
        """Refresh regularly. Runs until cancelled."""
        try:
            while True:
                if 0 in self.app.partitions_of(self.topics.results):
                    await self.look()
                else:
                    await self._retire()
                await asyncio.sleep(LOOK_EVERY_SECONDS)
        finally:
            await self._retire()

    async def look(self) -> None:
        """Refresh every gauge once."""
        for what, action, gauges in (
            ("backlog", self._look_at_brokers, _FROM_BROKERS),
            ("database", self._look_at_database, _FROM_DATABASE),
            ("dead letters", self._count_letters, (UNHANDLED_LETTERS,)),
        ):
            try:
                await action()
            except ExtentsError as error:
                log.info("outstanding.unknown", what=what, error=str(error))
                _clear(gauges)

    async def _look_at_brokers(self) -> None:
        group = self.topics.group(GPU_WORKER)
        (state,) = await look_at_groups(self.kafka, {group: [self.topics.work(priority) for priority in Priority]})
        for priority in Priority:
            spans = state.lag[self.topics.work(priority)]
            BACKLOG_SPANS.set(spans, priority)
            BACKLOG_SECONDS.set(self.gpu_speed.seconds_for(spans), priority)
        GPU_SPEED.set(self.gpu_speed.pairs_per_second)
        GPU_WORKERS.set(_workers(state))

    async def _look_at_database(self) -> None:
        self.database_breaker.check()
        now = datetime.now(UTC)
        today = now.replace(hour=0, minute=0, second=0, microsecond=0)
        overview = await self.listings.overview(now - timedelta(hours=1), today)
        JOBS.replace({(status, priority): 0 for status in ("queued", "running") for priority in Priority} | _jobs(overview["jobs"]))
        OLDEST_JOB.replace({(priority,): _oldest(overview["jobs"], priority) for priority in Priority})
        SPEND_TODAY.set(overview["gpu_seconds_today"] / 3600 * self.usd_per_hour)
        rejections = {(kind,): 0.0 for kind in RejectionType}
        for row in await self.listings.rejection_summary(REJECTION_DAYS):
            rejections[row["rejection_type"],] += row["unacknowledged"]
        UNACKNOWLEDGED_REJECTIONS.replace(rejections)
        replays = overview["replays"]
        REPLAYS.replace({(state,): sum(replay["state"] == state for replay in replays) for state in _REPLAY_STATES})
        progress = [await self.listings.replay_progress(replay["replay_id"]) for replay in replays]
        REPLAY_ITEMS.replace({(state,): sum(each[state] for each in progress) for state in _ITEM_STATES})

        promoted = await self.listings.last_promotion()
        at, model = promoted if promoted else (datetime.fromtimestamp(0, UTC), None)
        LAST_PROMOTION.replace({(model_label(model or "none"),): at.timestamp()})

    async def _count_letters(self) -> None:
        if self._letters is None:
            self._letters = await self._opened.enter_async_context(WaitingLetters(self.kafka, self.topics))
        UNHANDLED_LETTERS.replace({(reason,): count for reason, count in (await self._letters.counts()).items()})

    async def _retire(self) -> None:
        _clear((*_FROM_BROKERS, *_FROM_DATABASE, UNHANDLED_LETTERS))
        self._letters = None
        await self._opened.aclose()


def _jobs(rows: list[dict[str, Any]]) -> dict[tuple[str, ...], float]:
    return {(row["status"], row["priority"]): row["count"] for row in rows}


def _oldest(rows: list[dict[str, Any]], priority: Priority) -> float:
    made = [parse_moment(row["oldest_at"]).timestamp() for row in rows if row["priority"] == priority]
    return max(0.0, time.time() - min(made)) if made else 0.0


def _workers(state: GroupState) -> int:
    """Processes, not members: Faust gives each process one member."""
    return len(state.members)


def _clear(gauges: tuple[OwnedGauge, ...]) -> None:
    for gauge in gauges:
        gauge.clear()
