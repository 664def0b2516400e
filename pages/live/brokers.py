"""What the live page asks the brokers, and what it has them do. The process that serves the page brings it along."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from core.history import HistoryEntry, RunLog


@dataclass(frozen=True, slots=True)
class WorkerGroup:
    """A consumer group: its processes, and how far it is behind, by topic."""

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
    """Every method raises an ExtentsError when the brokers do not answer."""

    async def groups(self) -> list[WorkerGroup]:
        """The consumer groups of both roles."""

    async def letters(self) -> list[Letter]:
        """Dead letters that nobody has handled, oldest first."""

    async def video_log(self, video: UUID, runs: Collection[str], since: datetime | None) -> list[HistoryEntry]:
        """The logs of a video's runs, and its dead letters."""

    async def run_log(self, run_id: str, since: datetime, until: datetime | None) -> RunLog:
        """What happened to a run between two moments, and what became of its spans."""

    async def redrive(self, letter_id: str) -> None:
        """Have a letter's record processed again, and mark the letter.

        Raises:
            MissingObjectError: there is no such letter, or somebody has handled it.
        """

    async def discard(self, letter_id: str, note: str) -> None:
        """Mark a letter as needing nothing more. Raises as ``redrive``."""
