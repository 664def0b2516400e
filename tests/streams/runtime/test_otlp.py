"""What reaches a collector, and that a collector cannot disturb the work."""

import socket
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from core.redaction import MASK, register_secret
from core.trace_context import TraceContext
from core.tracing_settings import TracingSettings
from streams.received import ReceivedRecord
from streams.runtime import otlp
from streams.runtime.assignment import AssignmentRevoked
from streams.runtime.otlp import FLUSHING, TraceExport
from streams.runtime.tracing import NewStep, begin, record_step, step
from tests.collector import Collector, collecting

QUICKLY_GIVEN_UP = {"OTEL_EXPORTER_OTLP_TIMEOUT": "0.5", "OTEL_BSP_MAX_QUEUE_SIZE": "100", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "50"}

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CONTEXT = TraceContext(f"00-{TRACE}-{PARENT}-01", "vendor=1")


def record(offset: int = 7, **headers: bytes) -> ReceivedRecord:
    return ReceivedRecord("video.encoded", 2, offset, 1_700_000_000_000, b"key", b"value", headers)


def settings(**variables: str) -> TracingSettings:
    return TracingSettings(_env_file=None, **variables)


@asynccontextmanager
async def exported(**variables: str) -> AsyncIterator[Collector]:
    """A collector that has received everything when this block's own block ends."""
    async with collecting() as collector, TraceExport(settings(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, **variables), "coordinator", "g"):
        yield collector


async def test_a_trace_is_continued():
    """A record's step has the parent and the state from its headers, and attributes for messaging; its parts are below it."""
    async with exported() as collector:
        with begin(record_step("admit", record(**CONTEXT.headers()))) as admitting, step("decide", run_id="r", pairs=3, nothing=None):
            passed_on = admitting.trace
    (admit,), (decide,) = collector.named("admit"), collector.named("decide")
    assert (admit.trace, admit.parent, decide.trace, decide.parent) == (TRACE, PARENT, TRACE, admit.id)
    assert passed_on == TraceContext(f"00-{TRACE}-{admit.id}-01", "vendor=1")
    assert admit.service == "extents-coordinator"
    assert admit.attributes == {
        "messaging.system": "kafka",
        "messaging.operation.name": "admit",
        "messaging.operation.type": "process",
        "messaging.destination.name": "video.encoded",
        "messaging.destination.partition.id": "2",
        "messaging.kafka.offset": 7,
        "messaging.message.body.size": 5,
        "messaging.consumer.group.name": "g",
    }
    assert decide.attributes == {"extents.run_id": "r", "extents.pairs": 3}


async def test_a_repeated_step_has_the_same_ids():
    """A record that is handled again continues or begins the same trace with the same step; other records have others."""

    def handled(offset: int, **headers: bytes) -> TraceContext | None:
        with begin(record_step("admit", record(offset, **headers), repeats=True)) as admitting:
            return admitting.trace

    async with exported():
        assert handled(7) == handled(7)
        assert handled(7, **CONTEXT.headers()) == handled(7, **CONTEXT.headers())
        assert len({context.trace_id for offset in range(9) if (context := handled(offset))}) == 9
        assert handled(7, traceparent=b"00-a-b-01") == handled(7)  # malformed: a trace of its own


async def test_a_step_that_will_be_repeated_is_not_recorded():
    """Of repeated steps only the one that succeeds is recorded; a step without identity is recorded with its error, or as released."""
    async with exported() as collector:
        for error in (AssignmentRevoked(), ValueError("a fault"), None):
            for new in (record_step("admit", record(), repeats=True), record_step("infer", record())):
                try:
                    with begin(new):
                        if error is not None:
                            raise error
                except (AssignmentRevoked, ValueError):
                    pass
    assert [span.error for span in collector.named("admit")] == [None]
    infer = [(span.error, span.attributes.get("extents.released", False)) for span in collector.named("infer")]
    assert sorted(infer, key=str) == [("a fault", False), (None, False), (None, True)]


async def test_secrets_do_not_leave():
    """A secret in an error or an attribute is masked."""
    register_secret("s3cret-of-tracing")
    async with exported() as collector:
        with pytest.raises(ValueError, match="s3cret"), begin(NewStep("fails", attributes={"extents.key": "is s3cret-of-tracing"})):
            raise ValueError("no s3cret-of-tracing")
    (fails,) = collector.named("fails")
    assert fails.error == f"no {MASK}"
    assert [event["name"] for event in fails.events] == ["exception"]
    assert "s3cret" not in fails.raw


async def test_headers_of_the_export_are_secrets(monkeypatch):
    """Headers reach the collector, and credentials in them are masked everywhere else; a tenant's name is not masked."""
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_HEADERS", raising=False)
    async with exported(OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20s3cret-token, x-tenant=otlp-tenant") as collector:
        with begin(NewStep("refused")) as refused:
            refused.fail(ValueError("s3cret-token of otlp-tenant is refused"))
    assert collector.headers[0]["authorization"] == "Bearer s3cret-token"
    assert collector.headers[0]["x-tenant"] == "otlp-tenant"
    assert collector.named("refused")[0].error == f"{MASK} of otlp-tenant is refused"


async def test_links_lead_to_other_traces():
    """A step that answers requests of several traces is in one of them, and has links to the others."""
    async with exported() as collector:
        with begin(NewStep("finish", links=[CONTEXT])):
            pass
    (finish,) = collector.named("finish")
    assert finish.links == [TRACE]
    assert finish.trace != TRACE


async def test_traces_are_sampled_by_the_standard_variables(monkeypatch):
    """A trace that its sender does not record is passed on unrecorded; the sampler decides about traces that begin here."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    async with exported() as collector:
        with begin(NewStep("begins")) as begins:
            assert begins.trace is not None
            assert not begins.trace.sampled
        with begin(NewStep("continues", parent=CONTEXT)):
            pass
        with begin(NewStep("unsampled", parent=TraceContext(f"00-{TRACE}-{PARENT}-00"))) as unsampled:
            assert unsampled.trace is not None
            assert (unsampled.trace.trace_id, unsampled.trace.sampled) == (TRACE, False)
    assert {span.name for span in collector.spans} == {"continues"}


@pytest.mark.parametrize("hangs", [False, True])
async def test_a_collector_that_is_away_holds_nothing_up(monkeypatch, hangs):
    """Steps take no longer, and the process ends within its limit, if no collector listens or if it never responds."""
    monkeypatch.setattr(otlp, "FLUSH_SECONDS", 0.3)
    for name, value in QUICKLY_GIVEN_UP.items():
        monkeypatch.setenv(name, value)
    with socket.create_server(("127.0.0.1", 0)) as listening:  # it accepts, and never answers
        endpoint = "http://{}:{}".format(*listening.getsockname())
        if not hangs:
            listening.close()
        started = time.monotonic()
        async with TraceExport(settings(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint), "coordinator", "g"):
            for _ in range(500):  # more than are queued
                with begin(NewStep("work")):
                    pass
        assert time.monotonic() - started < 5.0
        for thread in threading.enumerate():
            if thread.name == FLUSHING:
                thread.join()
