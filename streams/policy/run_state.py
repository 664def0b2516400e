"""The state of a run, folded from the records of its log. Stored as JSON in the table of runs."""

import re
from typing import Final

import orjson
from pydantic import AliasChoices, Field, ValidationError

from core.frames import plan_span, span_count
from core.trace_context import TraceContext
from core.types import Outcome
from streams.records import Record, RequestRef, RunStarted, SpanFailed

_FINISHED_AT: Final = re.compile(rb'"finished_at_ms":[0-9]')


class RunState(Record):
    """The state of a run after the records up to ``offset``.

    ``started`` is None while only a ``run_joined`` has been seen, and again once the run is finished. What remains then is a
    marker (run, attempt, outcome, answered requests) for late requests and results.
    """

    run_id: str
    attempt: int
    offset: int
    started: RunStarted | None = None
    started_at_ms: int | None = None
    joined_at_ms: int | None = None
    """When the first request joined a run whose ``run_started`` had not arrived."""
    requests: list[RequestRef] = Field(default_factory=list)
    """Requests that have not been answered by an announced outcome."""
    notified_count: int = Field(default=0, validation_alias=AliasChoices("notified_count", "told"))  # states stored by older versions
    """Number of leading requests that are notified of the outcome before the next attempt can start."""
    answered: list[str] = Field(default_factory=list)
    takes: dict[int, int] = Field(default_factory=dict)
    first_taken_ms: int | None = None
    started_working_at: str | None = None
    done: list[int] = Field(default_factory=list)
    frame_size: list[int] | None = None
    outcome: Outcome | None = None
    outcome_at_ms: int | None = None
    reason: str | None = None
    failure: SpanFailed | None = None
    finished_at_ms: int | None = None

    @property
    def spans(self) -> int:
        return span_count(self.started.frame_count) if self.started else 0

    @property
    def trace(self) -> TraceContext | None:
        """The trace of the run: of the request that started it, or of the first waiting one that has a trace."""
        references = [*([self.started.request] if self.started else []), *self.requests]
        return next((trace for request in references if (trace := request.trace) is not None), None)

    @property
    def log_fields(self) -> dict[str, object]:
        """The fields that identify the run in log lines."""
        fields = {"run_id": self.run_id, "attempt": self.attempt, "video_id": str(self.started.video_id) if self.started else None}
        return {**fields, "trace_id": self.trace.trace_id} if self.trace else fields

    @property
    def needs_finishing(self) -> bool:
        """Whether the outcome is decided but has not been announced to all requests."""
        return self.outcome is not None and (self.finished_at_ms is None or bool(self.requests))

    @staticmethod
    def is_marker_text(state: bytes) -> bool:
        """Whether this text is the ``to_bytes`` of a marker. It is not parsed, because there may be a million markers.

        No nested field has one of these names with a value of the same type: the headers that a failure quotes may have any names,
        but their values are strings. A quotation mark within a string is escaped by a backslash.
        """
        return _FINISHED_AT.search(state) is not None and b'"requests":[]' in state

    @classmethod
    def salvaged(cls, run_id: str, text: bytes, reason: str) -> "RunState":
        """Build the failed outcome of a run whose state cannot be read, from the readable parts: its attempt and its waiting requests."""
        try:
            fields = orjson.loads(text)
        except ValueError:
            fields = None
        fields = fields if isinstance(fields, dict) else {}

        def integer(name: str, least: int) -> int:
            value = fields.get(name)
            return value if type(value) is int and least <= value < 2**31 else least

        waiting = fields.get("requests")
        requests = [ref for value in (waiting if isinstance(waiting, list) else []) if (ref := _request(value)) is not None]
        return cls(
            run_id=run_id,
            attempt=integer("attempt", 1),
            offset=integer("offset", 0),
            requests=requests,
            notified_count=len(requests),
            outcome=Outcome.FAILED,
            outcome_at_ms=integer("started_at_ms", 0),
            reason=reason,
        )

    @property
    def is_marker(self) -> bool:
        """Whether the run is finished and nothing is left to do."""
        return self.finished_at_ms is not None and not self.requests

    @property
    def pairs_done(self) -> int:
        if self.started is None:
            return 0
        return sum(plan_span(span, self.started.frame_count).pair_count for span in self.done)


def _request(value: object) -> RequestRef | None:
    try:
        return RequestRef.model_validate_json(orjson.dumps(value))
    except (ValidationError, TypeError):
        return None
