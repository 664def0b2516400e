"""W3C Trace Context, as headers and records carry it: the trace that something belongs to, and its parent in that trace."""

import re
from dataclasses import dataclass
from typing import Final

_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})(?P<trace>[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-(?P<flags>[0-9a-f]{2})(?:-.*)?")

MAX_TRACESTATE_LENGTH: Final = 512
"""A longer ``tracestate`` is dropped, as the standard allows; a truncated one would be invalid."""


@dataclass(frozen=True, slots=True)
class TraceContext:
    """The two headers. They are passed on unchanged, even if ``traceparent`` is malformed and so names no trace."""

    traceparent: str
    tracestate: str | None = None

    @classmethod
    def of(cls, traceparent: str | None, tracestate: str | None) -> "TraceContext | None":
        """The context in two headers; None without a ``traceparent``, because ``tracestate`` alone means nothing."""
        if not traceparent:
            return None
        return cls(traceparent, tracestate if tracestate and len(tracestate) <= MAX_TRACESTATE_LENGTH else None)

    @property
    def trace_id(self) -> str | None:
        match = _TRACEPARENT.fullmatch(self.traceparent)
        return match["trace"] if match else None

    @property
    def sampled(self) -> bool:
        """Whether the trace is recorded, so that there is something to look up."""
        match = _TRACEPARENT.fullmatch(self.traceparent)
        return match is not None and bool(int(match["flags"], 16) & 1)

    def headers(self) -> dict[str, bytes]:
        headers = {"traceparent": self.traceparent.encode()}
        return {**headers, "tracestate": self.tracestate.encode()} if self.tracestate else headers


def exemplar(run_id: str, trace: TraceContext | None) -> dict[str, str]:
    """The labels that lead from a bucket of a histogram to one run, and to its trace if that is recorded."""
    labels = {"run_id": run_id}
    return {**labels, "trace_id": trace.trace_id or ""} if trace is not None and trace.sampled else labels
