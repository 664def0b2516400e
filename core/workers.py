"""A worker as seen from outside, according to its last heartbeat and the time since then. For commands and pages."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

MISSED_BEATS: Final = 3
"""A worker counts as gone after it has missed this many heartbeats without announcing its end."""


class WorkerState(StrEnum):
    READY = "ready"
    WAITING = "waiting"
    FAULT = "fault"
    STOPPING = "stopping"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class SeenWorker:
    """One worker process.

    Attributes:
        instance: a UUID of this process. ``worker``, its host and process id, is not unique: a later process may have the same.
        role: ``coordinator`` or ``gpu-worker``.
        last_beat_at: by the brokers' clock.
        beat_seconds: how often it sends a heartbeat.
        faults, waits: the reasons that its ``/readyz`` gives for not being alive, and for not being ready.
        models: loaded models, most recently used first.
        pairs_per_second, busy_share: of the last minute; None for a coordinator.
        in_hand: spans that a GPU worker holds, or unfinished runs of a coordinator's partitions.
    """

    instance: str
    worker: str
    role: str
    host: str
    version: str
    started_at: datetime
    last_beat_at: datetime
    beat_seconds: float
    stopping: bool
    faults: tuple[str, ...]
    waits: tuple[str, ...]
    models: tuple[str, ...]
    device: str | None
    pairs_per_second: float | None
    busy_share: float | None
    in_hand: int

    def state(self, now: datetime) -> WorkerState:
        if now - self.last_beat_at > timedelta(seconds=MISSED_BEATS * self.beat_seconds):
            return WorkerState.GONE
        if self.stopping:
            return WorkerState.STOPPING
        if self.faults:
            return WorkerState.FAULT
        return WorkerState.WAITING if self.waits else WorkerState.READY

    def as_json(self, now: datetime) -> dict[str, Any]:
        """For ``--json`` and templates: every field, the state, and the age of the last heartbeat."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return {**fields, "state": self.state(now), "beat_age_seconds": max(0.0, (now - self.last_beat_at).total_seconds())}
