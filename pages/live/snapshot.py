"""What the home page shows. It is read once for all viewers, and only while there are viewers."""

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from core.errors import ExtentsError
from core.logging import get_logger
from core.workers import SeenWorker, WorkerState
from pages.live.brokers import Brokers, Letter, WorkerGroup
from storage.listings import Listings, Row

log = get_logger(__name__)

REFRESH_SECONDS: Final = 3.0
"""The interval of the tables. A run's progress changes every five seconds."""

CHARTS_SECONDS: Final = 30.0
SLOW_SECONDS: Final = 15.0
"""The interval of costlier parts: groups need connections, and the progress of replays needs counts of their items."""

CHART_STEPS: Final = 60
CHART_SPAN: Final = timedelta(hours=1)
SHOWN: Final = 50
"""Rows of each table."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Each part or its error: a part that cannot be read does not hide the others.

    Attributes:
        letters: the newest ones; ``letter_count`` is the number of all, None while unknown.
        activity: the last hour in steps, oldest first.
        workers: each with its state when it was read.
        errors: messages by part: ``database``, ``brokers``, ``heartbeats``.
    """

    overview: Row | None = None
    in_progress: tuple[Row, ...] = ()
    recent: tuple[Row, ...] = ()
    rejections: tuple[Row, ...] = ()
    replays: tuple[Row, ...] = ()
    activity: tuple[Row, ...] = ()
    letters: tuple[Letter, ...] = ()
    letter_count: int | None = None
    groups: tuple[WorkerGroup, ...] = ()
    workers: tuple[tuple[SeenWorker, WorkerState], ...] = ()
    errors: dict[str, str] = field(default_factory=dict)


class Watcher:
    """Keeps one snapshot up to date while there are viewers. Its cost does not depend on their number."""

    def __init__(self, listings: Listings, brokers: Brokers) -> None:
        self._listings, self._brokers = listings, brokers
        self.snapshot = Snapshot()
        self.version = 0
        """Counts the changes of the snapshot."""
        self.viewers = 0
        self._read_at: dict[str, float] = {}  # by part; a part that is not in it is due
        self._changed = asyncio.Condition()
        self._wanted = asyncio.Event()
        self._refreshing = asyncio.Lock()

    async def run(self) -> None:
        """Refresh while there are viewers, until cancelled."""
        while True:
            if not self.viewers:
                await self._wanted.wait()
            self._wanted.clear()
            await self.refresh()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), REFRESH_SECONDS)

    def hurry(self) -> None:
        """Refresh now, because a viewer has arrived."""
        self._wanted.set()

    async def changed_from(self, version: int, seconds: float) -> bool:
        """Wait until the snapshot differs from this version. Return False if it is still the same after ``seconds``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: self.version != version)
        return self.version != version

    async def current(self) -> Snapshot:
        """Return the snapshot, refreshed if it is old."""
        if self._due("tables", REFRESH_SECONDS):
            await self.refresh()
        return self.snapshot

    async def refresh(self, *, everything: bool = False) -> None:
        """Read the parts that are due, or every part after an action."""
        async with self._refreshing:
            if everything:
                self._read_at.clear()
            read = await asyncio.gather(
                self._part("database", self._read_database, "replays", "charts"),
                self._part("brokers", self._read_brokers, "groups"),
                self._part("heartbeats", self._read_workers, "workers"),
            )
            fields = {name: value for part, _ in read for name, value in part.items()}
            fresh = Snapshot(**fields, errors={name: message for _, errors in read for name, message in errors.items()})
            self._done("tables")
            if fresh == self.snapshot and self.version:
                return
            self.snapshot = fresh
            self.version += 1
        async with self._changed:
            self._changed.notify_all()

    async def _part(self, name: str, reading: Callable[[], Awaitable[Row]], *kept: str) -> tuple[Row, dict[str, str]]:
        """Return fields of the snapshot, or the error instead."""
        try:
            return await reading(), {}
        except ExtentsError as error:
            message = str(error)
        except Exception:  # a bug must not end the refreshing unnoticed
            log.exception("page.refresh_failed", part=name)
            message = "an unexpected error; see the log of this process"
        for part in kept:  # dropped with the error, so read again as soon as that is possible
            self._read_at.pop(part, None)
        return {}, {name: message}

    async def _read_database(self) -> Row:
        now = datetime.now(UTC)
        today = now.replace(hour=0, minute=0, second=0, microsecond=0)
        rows = await self._listings.live_page(now - CHART_SPAN, today, SHOWN)
        replays, activity = self.snapshot.replays, self.snapshot.activity
        if self._due("replays", SLOW_SECONDS):
            replays = tuple(await self._listings.live_replays(now - CHART_SPAN))
            self._done("replays")
        if self._due("charts", CHARTS_SECONDS):
            activity = tuple(await self._listings.activity(now - CHART_SPAN, now, CHART_STEPS))
            self._done("charts")
        tables = {name: tuple(rows[name]) for name in ("in_progress", "recent", "rejections")}
        return {"overview": rows["overview"], **tables, "replays": replays, "activity": activity}

    async def _read_brokers(self) -> Row:
        groups = self.snapshot.groups
        if self._due("groups", SLOW_SECONDS):
            groups = tuple(await self._brokers.groups())
            self._done("groups")
        letters = await self._brokers.letters()
        return {"groups": groups, "letters": tuple(letters[-SHOWN:][::-1]), "letter_count": len(letters)}

    async def _read_workers(self) -> Row:
        workers = self.snapshot.workers
        if self._due("workers", SLOW_SECONDS):
            now = datetime.now(UTC)
            seen = sorted(await self._brokers.workers(), key=lambda worker: (worker.role, worker.worker))
            workers = tuple((worker, worker.state(now)) for worker in seen)
            self._done("workers")
        return {"workers": workers}

    def _due(self, part: str, seconds: float) -> bool:
        return time.monotonic() - self._read_at.get(part, -math.inf) >= seconds

    def _done(self, part: str) -> None:
        self._read_at[part] = time.monotonic()
