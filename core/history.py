"""The history of a video and of a run's spans, for commands and pages."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One event. ``kind`` is a word such as ``request`` or ``dead letter``."""

    at: datetime
    kind: str
    detail: str


@dataclass(frozen=True, slots=True)
class SpanHistory:
    """The history of one span of an attempt.

    Attributes:
        tries: how often a worker took it.
        workers: the workers that took it, each once, in order.
        seconds: time for fetching, decoding and computing, as reported by the worker that finished it.
        error: the error of the last failed try.
    """

    span: int
    state: Literal["waiting", "taken", "done", "failed"]
    tries: int = 0
    workers: tuple[str, ...] = ()
    taken_at: datetime | None = None
    ended_at: datetime | None = None
    seconds: float | None = None
    gpu_seconds: float | None = None
    device: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class RunLog:
    """The log of a run: events of the whole run, and the spans of its last attempt."""

    entries: tuple[HistoryEntry, ...] = ()
    spans: tuple[SpanHistory, ...] = ()
