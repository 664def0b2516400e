"""The steps of the work as a trace sees them. What exports them is installed by the process; without it they cost next to nothing.

A *step* is a span of OpenTelemetry; a span of Extents is a unit of work. Steps nest, and a trace goes from one process to the next
in the headers of records. A process that exports no traces passes the contexts on that it received.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from structlog.contextvars import bind_contextvars, reset_contextvars

from core.trace_context import TraceContext
from streams.received import ReceivedRecord

Value = str | int | float | bool | None
"""Of an attribute; None leaves it out."""

Kind = Literal["internal", "consumer", "producer"]


class Step(Protocol):
    """A step in progress."""

    @property
    def trace(self) -> TraceContext | None:
        """The context for those who continue the trace from here."""

    def note(self, **attributes: Value) -> None:
        """Add attributes of ours; their names get the prefix ``extents.``."""

    def fail(self, error: BaseException) -> None:
        """Mark the step as failed."""


@dataclass(frozen=True, slots=True)
class NewStep:
    """What a step starts with.

    Attributes:
        parent: what it continues; None begins a new trace.
        nested: it belongs to the step around it instead.
        identity: determines its id, and that of a trace that it begins, so that both are the same when the step is repeated. Such a
            step is recorded only when it ends without an error: otherwise it is repeated.
        links: other traces that have to do with it.
    """

    name: str
    kind: Kind = "internal"
    parent: TraceContext | None = None
    nested: bool = False
    identity: Sequence[object] | None = None
    links: Sequence[TraceContext] = ()
    attributes: Mapping[str, Value] = field(default_factory=dict)


class Tracer(Protocol):
    def start(self, new: NewStep) -> AbstractContextManager[Step]:
        """Start a step, which ends with the context. An error that leaves it marks it as failed."""


@dataclass(frozen=True, slots=True)
class _Unrecorded:
    trace: TraceContext | None

    def note(self, **attributes: Value) -> None: ...

    def fail(self, error: BaseException) -> None: ...


class _PassingOn:
    """Records nothing."""

    def start(self, new: NewStep) -> AbstractContextManager[Step]:
        return nullcontext(_Unrecorded(_current.get() if new.nested else new.parent))


_PASSING_ON: Final = _PassingOn()
_tracer: Tracer = _PASSING_ON
_current: ContextVar[TraceContext | None] = ContextVar("trace", default=None)


def install(tracer: Tracer | None) -> None:
    """Record the steps of this process by a tracer; None ends that."""
    global _tracer
    _tracer = tracer or _PASSING_ON


def current_trace() -> TraceContext | None:
    """The context of the innermost step."""
    return _current.get()


@contextmanager
def begin(new: NewStep) -> Iterator[Step]:
    """The outermost step of some work. Lines of the log that are written within it have its ``trace_id``."""
    with _tracer.start(new) as started:
        trace = started.trace
        token = _current.set(trace)
        bound = bind_contextvars(trace_id=trace.trace_id) if trace is not None and trace.trace_id else {}
        try:
            yield started
        finally:
            reset_contextvars(**bound)
            _current.reset(token)


@contextmanager
def step(name: str, *, topic: str | None = None, **attributes: Value) -> Iterator[Step]:
    """A part of the step around it. Outside of any, it is not recorded.

    Args:
        topic: it sends a record to this topic.
    """
    tracer = _PASSING_ON if _current.get() is None else _tracer
    sending = {} if topic is None else _messaging(name, "send", topic)
    new = NewStep(name, "producer" if sending else "internal", nested=True, attributes={**sending, **prefixed(attributes)})
    with tracer.start(new) as started:
        token = _current.set(started.trace)
        try:
            yield started
        finally:
            _current.reset(token)


def record_step(name: str, record: ReceivedRecord, *, repeats: bool = False) -> NewStep:
    """The step of handling a record, which continues the trace in its headers.

    Args:
        repeats: a record that is read again is handled by the same step again.
    """
    place = (record.topic, record.partition, record.offset)
    attributes: dict[str, Value] = {
        **_messaging(name, "process", record.topic),
        "messaging.destination.partition.id": str(record.partition),
        "messaging.kafka.offset": record.offset,
        "messaging.message.body.size": len(record.value or b""),
    }
    # With its time: a topic that was created again has the same offsets again.
    identity = (name, *place, record.timestamp_ms) if repeats else None
    return NewStep(name, "consumer", record.trace, identity=identity, attributes=attributes)


def _messaging(name: str, operation: str, topic: str) -> dict[str, Value]:
    return {
        "messaging.system": "kafka",
        "messaging.operation.name": name,
        "messaging.operation.type": operation,
        "messaging.destination.name": topic,
    }


def prefixed(attributes: Mapping[str, Value]) -> dict[str, Value]:
    return {f"extents.{name}": value for name, value in attributes.items()}
