"""Heartbeats: records of workers' states. They show which workers exist, and how long each was up."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Final, Literal

from pydantic import Field

from core.workers import SeenWorker, WorkerState
from streams.records import Count, Finite, Id, Record

SHOWN_FOR: Final = timedelta(hours=1)
"""How long a worker that disappeared is shown after its last heartbeat."""

DAYS_BACK: Final = 31
"""The maximum number of past days for which a worker's hours are written."""


class Heartbeat(Record):
    """``inference.workers``: the state of a worker process. The last heartbeat announces its end."""

    instance: Id
    worker: str
    """Host name and process id, as in ``span_taken``."""
    role: Literal["coordinator", "gpu-worker"]
    host: str
    version: str
    uptime_seconds: Finite
    """Measured by the worker's monotonic clock, since its wall clock may be wrong."""
    beat_seconds: Annotated[float, Field(gt=0, le=3600)]
    """How often it sends a heartbeat."""
    ended: bool = False
    stopping: bool = False
    faults: list[str] = Field(default_factory=list)
    waits: list[str] = Field(default_factory=list)
    """The reasons of `/readyz`. A worker with neither faults nor waits is ready."""
    models: list[str] = Field(default_factory=list)
    """Loaded models, most recently used first."""
    device: str | None = None
    pairs_per_second: Finite | None = None
    busy_share: Annotated[float, Field(ge=0, le=1)] | None = None
    """Share of the last minute in which the device computed."""
    in_hand: Count = 0
    """Spans that a GPU worker holds, or unfinished runs of a coordinator's partitions."""


@dataclass(frozen=True, slots=True)
class ReceivedBeat:
    """A heartbeat and the brokers' timestamp."""

    beat: Heartbeat
    at: datetime

    @property
    def started_at(self) -> datetime:
        return self.at - timedelta(seconds=min(self.beat.uptime_seconds, DAYS_BACK * 86_400))

    def seen(self) -> SeenWorker:
        beat = self.beat
        return SeenWorker(
            instance=str(beat.instance),
            worker=beat.worker,
            role=beat.role,
            host=beat.host,
            version=beat.version,
            started_at=self.started_at,
            last_beat_at=self.at,
            beat_seconds=beat.beat_seconds,
            stopping=beat.stopping,
            faults=tuple(beat.faults),
            waits=tuple(beat.waits),
            models=tuple(beat.models),
            device=beat.device,
            pairs_per_second=beat.pairs_per_second,
            busy_share=beat.busy_share,
            in_hand=beat.in_hand,
        )


def seen_workers(beats: Iterable[ReceivedBeat], now: datetime) -> list[SeenWorker]:
    """Return the present workers and those that disappeared recently, ordered by role and name.

    Args:
        beats: the last heartbeat of each instance.
    """
    recent = [received for received in beats if not received.beat.ended and now - received.at <= SHOWN_FOR]
    workers = [received.seen() for received in recent]
    newest = {(worker.role, worker.worker): worker for worker in sorted(workers, key=lambda worker: worker.started_at)}
    shown = [
        worker for worker in workers if worker.state(now) is not WorkerState.GONE or newest[worker.role, worker.worker] is worker
    ]  # a restarted process replaces the one that has gone
    return sorted(shown, key=lambda worker: (worker.role, worker.worker, worker.started_at))


def hours_by_day(received: ReceivedBeat) -> Iterator[tuple[date, float]]:
    """Return the seconds of each day (UTC) for which the worker was up until this heartbeat.

    Later heartbeats give larger values for each day, so the largest value of a day is right even if some were missed.
    """
    begin = received.started_at
    while begin < received.at:
        midnight = datetime(begin.year, begin.month, begin.day, tzinfo=UTC) + timedelta(days=1)
        end = min(midnight, received.at)
        yield begin.date(), (end - begin).total_seconds()
        begin = end
