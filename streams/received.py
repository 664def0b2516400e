"""A record as a worker reads it from a topic: plain bytes and their position."""

from collections.abc import Mapping
from dataclasses import dataclass

from core.trace_context import TraceContext
from streams.records import Origin


@dataclass(frozen=True, slots=True)
class ReceivedRecord:
    """One record of a partition.

    Attributes:
        timestamp_ms: the record's Kafka timestamp, in milliseconds since the epoch.
        headers: by name; the last value counts if a name is repeated.
        continued: the trace context of this process's own step, if it records traces.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes]
    continued: TraceContext | None = None

    @property
    def origin(self) -> Origin:
        return Origin(topic=self.topic, partition=self.partition, offset=self.offset)

    @property
    def log_fields(self) -> dict[str, object]:
        """The fields that identify the record in a log line."""
        return {"topic": self.topic, "partition": self.partition, "offset": self.offset}

    @property
    def trace(self) -> TraceContext | None:
        """The trace that the record belongs to."""
        return self.continued or TraceContext.of(self.header("traceparent"), self._text("tracestate"))

    def header(self, name: str) -> str | None:
        """A header as text, truncated to 500 characters; None if it is missing."""
        text = self._text(name)
        return None if text is None else text[:500]

    def _text(self, name: str) -> str | None:
        value = self.headers.get(name)
        return None if value is None else value.decode(errors="replace")
