"""What happened to a video and to the spans of a run, as commands and pages show it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One thing that happened. ``kind`` is a word, such as ``request`` or ``dead letter``."""

    at: datetime
    kind: str
    detail: str


@dataclass(frozen=True, slots=True)
class SpanHistory:
    """What became of one span of an attempt.

    Attributes:
        tries: how often a worker took it.
        workers: those that took it, each once, in their order.
        seconds: from the worker that finished it: fetching, decoding and computing.
        error: of the last try that failed.
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
    """What the log of a run says: what happened to the whole run, and the spans of its last attempt."""

    entries: tuple[HistoryEntry, ...] = ()
    spans: tuple[SpanHistory, ...] = ()
