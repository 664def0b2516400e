"""Exports the steps of this process to an OpenTelemetry collector over HTTP. The only module that imports ``opentelemetry``.

Steps are queued and sent from a thread of the SDK. If the collector is unreachable, the queue fills up and further steps are dropped;
the work itself never waits.
"""

import asyncio
import hashlib
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from importlib.metadata import version
from typing import Final, Self

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.re import parse_env_headers

from core.logging import get_logger
from core.redaction import redact
from core.trace_context import TraceContext
from core.tracing_settings import TracingSettings
from streams.runtime import tracing
from streams.runtime.assignment import AssignmentRevoked
from streams.runtime.tracing import Kind, NewStep, Step, Value

log = get_logger(__name__)

FLUSH_SECONDS: Final = 3.0
"""Limit for sending queued steps at shutdown: a fraction of the time that a shutdown may take."""

FLUSHING: Final = "flush-traces"
"""Name of the thread that sends them."""

MAX_MESSAGE_LENGTH: Final = 1000

_KINDS: Final[Mapping[Kind, SpanKind]] = {
    "internal": SpanKind.INTERNAL,
    "consumer": SpanKind.CONSUMER,
    "producer": SpanKind.PRODUCER,
}
_HEADERS: Final = TraceContextTextMapPropagator()

_identity: ContextVar[str | None] = ContextVar("identity", default=None)
"""The identity of the step that is being started."""


class TraceExport:
    """While entered, the steps of this process are recorded and exported."""

    def __init__(self, settings: TracingSettings, role: str, group: str) -> None:
        self._settings, self._role, self._group = settings, role, group
        self._provider: TracerProvider | None = None

    async def __aenter__(self) -> Self:
        for name, value in self._settings.sdk_variables().items():
            os.environ.setdefault(name, value)  # the SDK does not read .env
        endpoint, headers = self._settings.endpoint_url, self._settings.export_headers
        exporter = OTLPSpanExporter(endpoint, headers=parse_env_headers(headers, liberal=True) if headers else None)
        self._provider = TracerProvider(resource=_resource(self._role), id_generator=_Ids(), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        tracing.install(_Recorder(self._provider.get_tracer("extents", version("extents")), self._group))
        log.info("tracing.started", endpoint=endpoint)
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Send queued steps, within a limit. A daemon thread sends them, so that the process can end even if the collector hangs."""
        tracing.install(None)
        assert self._provider is not None
        flushed, loop = asyncio.Event(), asyncio.get_running_loop()

        def flush(provider: TracerProvider) -> None:
            provider.shutdown()
            with suppress(RuntimeError):  # too late: the loop is closed
                loop.call_soon_threadsafe(flushed.set)

        threading.Thread(target=flush, args=(self._provider,), name=FLUSHING, daemon=True).start()
        try:
            await asyncio.wait_for(flushed.wait(), FLUSH_SECONDS)
        except TimeoutError:
            log.warning("tracing.not_flushed", limit_seconds=FLUSH_SECONDS)


def _resource(role: str) -> Resource:
    """Attributes of this process. ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES`` take precedence."""
    name, instance = f"extents-{role}", f"{socket.gethostname()}:{os.getpid()}"
    given = Resource.create()
    if str(given.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        given = given.merge(Resource({SERVICE_NAME: name}))
    return Resource({"service.version": version("extents"), "service.instance.id": instance}).merge(given)


class _Ids(RandomIdGenerator):
    """Random ids, except for steps with an identity."""

    def generate_trace_id(self) -> int:
        return _digest("trace", 16) or super().generate_trace_id()

    def generate_span_id(self) -> int:
        return _digest("step", 8) or super().generate_span_id()


def _digest(kind: str, size_bytes: int) -> int:
    """Return a uniformly distributed number, since samplers compare trace ids with a bound; 0 without an identity."""
    identity = _identity.get()
    return 0 if identity is None else int.from_bytes(hashlib.sha256(f"{kind} {identity}".encode()).digest()[:size_bytes])


class _Recorder:
    def __init__(self, tracer: trace.Tracer, group: str) -> None:
        self._tracer, self._group = tracer, group

    @contextmanager
    def start(self, new: NewStep) -> Iterator[Step]:
        consumer = {"messaging.consumer.group.name": self._group} if new.kind == "consumer" else {}
        around = context.get_current() if new.nested else _context(new.parent)
        identified = _identity.set(None if new.identity is None else repr(tuple(new.identity)))
        try:
            span = self._tracer.start_span(
                new.name,
                around,
                _KINDS[new.kind],
                _attributes({**new.attributes, **consumer}),
                [Link(trace.get_current_span(_context(link)).get_span_context()) for link in new.links],
            )
        finally:
            _identity.reset(identified)
        started, ended = _Recorded(span), False
        attached = context.attach(trace.set_span_in_context(span, around))
        try:
            yield started
            ended = True
        except (AssignmentRevoked, asyncio.CancelledError):
            started.note(released=True)  # not a failure: the record will be redelivered
            raise
        except BaseException as error:
            started.fail(error)
            raise
        finally:
            context.detach(attached)
            if ended or new.identity is None:
                span.end()


class _Recorded:
    def __init__(self, span: Span) -> None:
        self._span = span
        carrier: dict[str, str] = {}
        _HEADERS.inject(carrier, trace.set_span_in_context(span, Context()))
        self.trace: TraceContext | None = TraceContext.of(carrier.get("traceparent"), carrier.get("tracestate"))

    def note(self, **attributes: Value) -> None:
        self._span.set_attributes(_attributes(tracing.prefixed(attributes)))

    def fail(self, error: BaseException) -> None:
        message, kind = redact(str(error))[:MAX_MESSAGE_LENGTH], type(error).__qualname__
        self._span.set_status(Status(StatusCode.ERROR, message))
        self._span.set_attribute("error.type", kind)
        self._span.add_event("exception", {"exception.type": kind, "exception.message": message})


def _context(parent: TraceContext | None) -> Context:
    """Return the context to continue. It is empty, and so begins a new trace, if there is no parent or the parent is malformed."""
    carrier = {} if parent is None else {name: value.decode() for name, value in parent.headers().items()}
    return _HEADERS.extract(carrier, Context())


def _attributes(attributes: Mapping[str, Value]) -> dict[str, str | int | float | bool]:
    return {name: redact(value) if isinstance(value, str) else value for name, value in attributes.items() if value is not None}
