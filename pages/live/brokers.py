"""What the live page reads from the brokers and changes there. The process that serves the page implements it."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from core.history import HistoryEntry, RunLog
from core.workers import SeenWorker


@dataclass(frozen=True, slots=True)
class WorkerGroup:
    """A consumer group: its processes, and its lag by topic."""

    name: str
    state: str
    members: tuple[str, ...]
    lag: dict[str, int]


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter that nobody has handled. ``id`` is ``partition/offset``."""

    id: str
    topic: str
    reason: str
    error: str
    run_id: str | None
    at: datetime


class Brokers(Protocol):
    """Every method raises an ExtentsError if the brokers do not respond."""

    async def groups(self) -> list[WorkerGroup]:
        """Return the consumer groups of both roles."""

    async def workers(self) -> list[SeenWorker]:
        """Return the worker processes by their heartbeats, including those that recently disappeared without announcing their end."""

    async def letters(self) -> list[Letter]:
        """Return unhandled dead letters, oldest first."""

    async def video_log(self, video: UUID, runs: Collection[str], since: datetime | None) -> list[HistoryEntry]:
        """Return entries of the logs of a video's runs, and of its dead letters."""

    async def run_log(self, run_id: str, since: datetime, until: datetime | None) -> RunLog:
        """Return what happened to a run and its spans between two moments."""

    async def redrive(self, letter_id: str) -> None:
        """Send a letter's record again, and mark the letter as redriven.

        Raises:
            MissingObjectError: the letter does not exist, or has been handled.
        """

    async def discard(self, letter_id: str, note: str) -> None:
        """Mark a letter as discarded. Raises the same error as ``redrive``."""
