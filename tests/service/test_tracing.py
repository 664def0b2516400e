"""One trace from the event's traceparent to the outcome, over real workers and a collector in this process."""

import json
import socket
from collections import Counter
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from core.trace_context import TraceContext
from streams.kafka.client import ReceivedOutcome
from tests.collector import Collector, Received, collecting
from tests.service.faults import Fault
from tests.service.installation import Installation
from tests.service.processes import Worker
from tests.service.videos import video

pytestmark = pytest.mark.asyncio(loop_scope="module")

TWO_SPANS = 514
SENDER = "00f067aa0ba902b7"
KEY = "s3cret-of-the-collector"


def sent(number: int) -> TraceContext:
    """The trace of the service that published the event."""
    return TraceContext(f"00-{number:032x}-{SENDER}-01", "vendor=1")


def passed_on(outcome: ReceivedOutcome) -> tuple[str, str]:
    """The trace that an outcome continues, and the step of that trace."""
    _, trace, step, flags = outcome.headers["traceparent"].split("-")
    assert int(flags, 16) & 1
    return trace, step


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def collector() -> AsyncIterator[Collector]:
    async with collecting() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def environment(collector: Collector) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_EXPORTER_OTLP_HEADERS": f"api-key={KEY}"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outcomes(service: Installation, collector: Collector, environment: dict[str, str]) -> dict[str, ReceivedOutcome]:
    """One request for each outcome, after the workers have stopped and exported everything."""
    workers = [service.processes.start(role, **environment) for role in ("coordinator", "gpu")]
    broken = video(TWO_SPANS).with_chunk("modulo_1/chunk_0000000001.webm", b"this is no film")
    answered = [
        await service.run(video(TWO_SPANS), trace=sent(1)),
        await service.run(broken, trace=sent(2)),
        await service.run(video(2), model_version="unknown"),
    ]
    await service.verify_at_rest()
    assert await exemplars(workers[1]) >= {f'trace_id="{1:032x}"'}
    assert [await worker.stopped() for worker in workers] == [0, 0]
    return {outcome.name: outcome for _, outcome in answered}


async def exemplars(worker: Worker) -> set[str]:
    """Return the traces that the exemplars of a worker's histograms name."""
    async with aiohttp.ClientSession(headers={"Accept": "application/openmetrics-text"}) as http:
        _, text = await worker.fetch(http, "metrics")
    return {label.strip("{}") for line in text.splitlines() if " # {" in line for label in line.split(" # ")[1].split()[0].split(",")}


def logged(service: Installation, event: str) -> list[dict[str, object]]:
    lines = [line for worker in service.processes.workers for line in worker.log.read_text().splitlines() if f'"{event}"' in line]
    return [json.loads(line) for line in lines]


def below(spans: list[Received], parent: Received) -> Counter[str]:
    return Counter(span.name for span in spans if span.parent == parent.id)


async def test_a_run_is_one_trace(collector: Collector, outcomes: dict[str, ReceivedOutcome]) -> None:
    """Every step up to the completed event is in the trace of the event's traceparent, below the step that it continues."""
    trace, last = passed_on(outcomes["inference.completed"])
    spans = [span for span in collector.spans if span.trace == f"{1:032x}"]
    (admit,), (finish,), infers = ([span for span in spans if span.name == name] for name in ("admit", "finish", "infer"))
    assert admit.parent == SENDER
    assert below(spans, admit) == Counter({"read": 1, "look_up": 1, "decide": 1, "act": 1, "infer": 2, "finish": 1})
    assert [below(spans, infer) for infer in infers] == [Counter(("fetch", "decode", "predict", "send"))] * 2
    assert [below(spans, send) for send in spans if send.name == "send"] == [Counter(["aggregate"])] * 2
    assert below(spans, finish) == Counter(("assemble", "upload", "rows", "publish"))
    assert (trace, last) == (admit.trace, finish.id)
    assert outcomes["inference.completed"].headers["tracestate"] == "vendor=1"
    assert not [span for span in spans if span.error]
    assert {span.service for span in infers} == {"extents-gpu-worker"}
    assert {admit.service, finish.service} == {"extents-coordinator"}


async def test_a_trace_says_what_it_is_about(service: Installation, collector: Collector, outcomes: dict[str, ReceivedOutcome]) -> None:
    """Steps have run, video, tenant, model, pairs and the position of their record; log lines have the trace."""
    run = outcomes["inference.completed"].body
    (admit,), (finish,), infers = (collector.named(name, f"{1:032x}") for name in ("admit", "finish", "infer"))
    for span in (admit, finish, *infers):
        about = {name: span.attributes[f"extents.{name}"] for name in ("run_id", "video_id", "tenant_id", "model_version")}
        assert about == {name: run[name] for name in about}
    assert (admit.attributes["extents.pairs"], finish.attributes["extents.pairs"]) == (TWO_SPANS - 1, TWO_SPANS - 1)
    assert sum(span.attributes["extents.pairs"] for span in infers) == TWO_SPANS - 1
    assert admit.attributes["extents.decision"] == "run"
    (publish,) = collector.named("publish", f"{1:032x}")
    assert publish.attributes["messaging.destination.name"] == service.topics.completed
    assert infers[0].attributes["messaging.destination.name"] == service.topics.work_high
    assert infers[0].attributes["messaging.consumer.group.name"] == service.topics.group("gpu-worker")
    for event in ("request.decided", "span.done", "run.finished"):
        assert f"{1:032x}" in [line.get("trace_id") for line in logged(service, event)], event


async def test_a_failure_is_seen(collector: Collector, outcomes: dict[str, ReceivedOutcome]) -> None:
    """The failed stage and the step around it have the error; the trace ends in the failed event."""
    trace, last = passed_on(outcomes["inference.failed"])
    (finish,) = collector.named("finish", trace)
    assert (trace, last) == (f"{2:032x}", finish.id)
    assert finish.attributes["extents.outcome"] == "failed"
    for name in ("decode", "infer"):
        assert [span.error for span in collector.named(name, trace) if span.error and "chunk_0000000001" in span.error], name


async def test_a_request_without_a_trace_begins_one(collector: Collector, outcomes: dict[str, ReceivedOutcome]) -> None:
    """Admission is the first step of a request without a trace, and the outcome event continues it."""
    trace, step = passed_on(outcomes["inference.rejected"])
    (admit,) = collector.named("admit", trace)
    assert (admit.parent, admit.id) == ("", step)
    assert (admit.attributes["extents.decision"], admit.attributes["extents.rejection_type"]) == ("rejected", "validation_failed")


async def test_the_key_of_the_collector_stays_secret(
    service: Installation, collector: Collector, outcomes: dict[str, ReceivedOutcome]
) -> None:
    """The collector receives the secret header; no log line and no span contains it."""
    assert {headers.get("api-key") for headers in collector.headers} == {KEY}
    assert not [worker.name for worker in service.processes.workers if KEY in worker.log.read_text()]
    assert not [span.name for span in collector.spans if KEY in span.raw]


async def test_a_trace_survives_a_kill_and_a_collector_that_is_away(
    service: Installation, collector: Collector, environment: dict[str, str], outcomes: dict[str, ReceivedOutcome]
) -> None:
    """The successor of a coordinator killed after announcing a run repeats the same step; a worker that cannot export continues."""
    after_publishing = Fault("streams.publisher:Publisher.publish_outcome", "after", ("completed",))
    first = service.processes.start("coordinator", after_publishing, **environment, OTEL_BSP_SCHEDULE_DELAY="100")
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    gpu = service.processes.start("gpu", OTEL_EXPORTER_OTLP_ENDPOINT=nobody, OTEL_EXPORTER_OTLP_TIMEOUT="1")
    published, outcome = await service.run(video(2), trace=sent(3))
    await first.ended()
    second = service.processes.start("coordinator", **environment)
    await service.verify_at_rest()
    announced = [event for event in service.ledger.outcomes if event.answers(published.request_id)]
    assert [event.headers for event in announced] == [outcome.headers] * 2
    assert [await worker.stopped() for worker in (gpu, second)] == [0, 0]
    (finish,) = collector.named("finish", f"{3:032x}")
    assert passed_on(outcome) == (f"{3:032x}", finish.id)
    assert not collector.named("infer", f"{3:032x}")
