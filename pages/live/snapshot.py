"""What the home page shows, read once for all viewers."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from core.errors import ExtentsError
from core.logging import get_logger
from storage.listings import NEWEST_FIRST, Filter, Listings, Row

log = get_logger(__name__)

REFRESH_SECONDS: Final = 3.0
"""The interval while there are viewers."""

IDLE_SECONDS: Final = 60.0
"""The interval without viewers, so that the charts continue."""

HISTORY_SECONDS: Final = 3600
SHOWN: Final = 50


@dataclass(frozen=True, slots=True)
class WorkerGroup:
    """A consumer group: its processes, and its lag by topic."""

    name: str
    state: str
    members: tuple[str, ...]
    lag: dict[str, int]


@dataclass(frozen=True, slots=True)
class Letter:
    """An unhandled dead letter."""

    id: str
    topic: str
    reason: str
    error: str
    run_id: str | None
    at: datetime


class Brokers(Protocol):
    """What the page reads from the brokers. Both methods raise ExtentsError if the brokers do not respond."""

    async def groups(self) -> list[WorkerGroup]:
        """Return the consumer groups of both roles."""

    async def letters(self) -> list[Letter]:
        """Return unhandled dead letters, oldest first."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A point of the charts: waiting spans by priority, and unfinished jobs."""

    at: float
    high: int
    low: int
    unfinished: int


@dataclass(slots=True)
class Snapshot:
    """Each part or its error: a part that cannot be read does not hide the others.

    Attributes:
        letters: the newest ones; ``letter_count`` is the number of all, None while unknown.
    """

    at: datetime | None = None
    overview: Row | None = None
    in_progress: list[Row] = field(default_factory=list)
    recent: list[Row] = field(default_factory=list)
    rejections: list[Row] = field(default_factory=list)
    replays: list[tuple[Row, Row]] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    letter_count: int | None = None
    groups: list[WorkerGroup] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)


class Watcher:
    """Keeps one snapshot up to date, quickly while there are viewers. Its cost does not depend on their number."""

    def __init__(self, listings: Listings, brokers: Brokers) -> None:
        self._listings, self._brokers = listings, brokers
        self.snapshot = Snapshot()
        self.history: deque[Sample] = deque(maxlen=int(HISTORY_SECONDS / REFRESH_SECONDS))
        self.viewers = 0
        self._changed = asyncio.Condition()
        self._wanted = asyncio.Event()
        self._refreshing = asyncio.Lock()

    async def run(self) -> None:
        """Refresh until cancelled."""
        while True:
            await self.refresh()
            self._wanted.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), REFRESH_SECONDS if self.viewers else IDLE_SECONDS)

    def hurry(self) -> None:
        """Refresh now, because a viewer has come or something has been changed."""
        self._wanted.set()

    async def changed(self) -> None:
        async with self._changed:
            await self._changed.wait()

    async def refresh(self) -> None:
        """Read everything once."""
        async with self._refreshing:
            fresh = Snapshot(at=datetime.now(UTC))
            await asyncio.gather(
                self._part(fresh, "database", self._read_database(fresh)),
                self._part(fresh, "brokers", self._read_brokers(fresh)),
            )
            self.snapshot = fresh
        if fresh.groups or fresh.overview:
            self._remember(fresh)
        async with self._changed:
            self._changed.notify_all()

    async def _part(self, snapshot: Snapshot, name: str, reading: Awaitable[None]) -> None:
        try:
            await reading
        except ExtentsError as error:
            snapshot.errors[name] = str(error)
        except Exception:  # a fault of ours must not end the refreshing, which nobody would notice
            log.exception("page.refresh_failed", part=name)
            snapshot.errors[name] = "an unexpected error, which the log of this process has"

    async def _read_database(self, fresh: Snapshot) -> None:
        now = datetime.now(UTC)
        today = now.replace(hour=0, minute=0, second=0, microsecond=0)
        fresh.overview = await self._listings.overview(now - timedelta(hours=1), today)
        running = [row async for row in self._listings.jobs(Filter(status="running"), SHOWN)]
        queued = [row async for row in self._listings.jobs(Filter(status="queued"), SHOWN)]
        fresh.in_progress = [row for row in (*running, *queued) if row["run_id"]][:SHOWN]
        week = now - timedelta(days=7)
        ended = [row for status in ("completed", "failed") async for row in self._listings.jobs(Filter(status=status, since=week), SHOWN)]
        ended.sort(key=lambda row: [row[column] for column in NEWEST_FIRST], reverse=True)
        fresh.recent = [row for row in ended if row["run_id"]][:SHOWN]
        fresh.rejections = [row async for row in self._listings.rejections(Filter(acknowledged=False), SHOWN)]
        for replay in fresh.overview["replays"]:
            fresh.replays.append((replay, await self._listings.replay_progress(replay["replay_id"])))

    async def _read_brokers(self, fresh: Snapshot) -> None:
        fresh.groups = await self._brokers.groups()
        letters = await self._brokers.letters()
        fresh.letters, fresh.letter_count = letters[-SHOWN:][::-1], len(letters)

    def _remember(self, fresh: Snapshot) -> None:
        lag = {topic: count for group in fresh.groups for topic, count in group.lag.items()}
        jobs: Sequence[Any] = fresh.overview["jobs"] if fresh.overview else ()
        sample = Sample(
            time.time(),
            sum(count for topic, count in lag.items() if topic.endswith("inference.work.high")),
            sum(count for topic, count in lag.items() if topic.endswith("inference.work.low")),
            sum(row["count"] for row in jobs),
        )
        self.history.append(sample)
