"""The steps of the work, for traces. A process that exports them installs a tracer; without one they cost next to nothing.

A *step* is what OpenTelemetry calls a span; a span of Extents is a unit of work. Steps nest, and a trace continues from one process
to the next through the headers of records. A process that exports no traces passes received contexts on.
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
"""The value of an attribute; None leaves it out."""

Kind = Literal["internal", "consumer", "producer"]


class Step(Protocol):
    """A step in progress."""

    @property
    def trace(self) -> TraceContext | None:
        """The context with which others continue the trace."""

    def note(self, **attributes: Value) -> None:
        """Add our own attributes; their names get the prefix ``extents.``."""

    def fail(self, error: BaseException) -> None:
        """Mark the step as failed."""


@dataclass(frozen=True, slots=True)
class NewStep:
    """What a step starts with.

    Attributes:
        parent: the context to continue; None begins a new trace.
        nested: the step is a child of the current step instead.
        identity: determines the step's id, and that of a trace that it begins, so that a repeated step has the same ids. Such a step
            is recorded only if it ends without an error, because otherwise it is repeated.
        links: related traces.
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
        """Start a step. It ends with the context, and counts as failed if an error leaves the context."""


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
    """Record the steps of this process with a tracer; None ends the recording."""
    global _tracer
    _tracer = tracer or _PASSING_ON


def current_trace() -> TraceContext | None:
    """The context of the innermost step."""
    return _current.get()


@contextmanager
def begin(new: NewStep) -> Iterator[Step]:
    """Start the outermost step of some work. Log lines that are written within it have its ``trace_id``."""
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
    """Start a child of the current step. It is not recorded if there is no current step.

    Args:
        topic: the topic to which the step sends a record.
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
    """Describe the step that handles a record, to be started by ``begin``. It continues the trace in the record's headers.

    Args:
        repeats: the step has the same id if the record is read again.
    """
    place = (record.topic, record.partition, record.offset)
    attributes: dict[str, Value] = {
        **_messaging(name, "process", record.topic),
        "messaging.destination.partition.id": str(record.partition),
        "messaging.kafka.offset": record.offset,
        "messaging.message.body.size": len(record.value or b""),
    }
    # The time is included, because a recreated topic has the same offsets again.
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
