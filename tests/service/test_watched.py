"""What operators see of running workers: metrics that agree with the topics, and logs that name run and video."""

import asyncio
from collections import Counter

import aiohttp
import orjson
import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from streams.kafka.client import ReceivedOutcome
from streams.records import SpanDone
from tests.service.faults import Fault
from tests.service.installation import Installation
from tests.service.processes import WAIT_SECONDS, Worker
from tests.service.videos import video

pytestmark = pytest.mark.asyncio(loop_scope="module")

FRAMES = 514
TWO_SPANS = 1025
DOLLARS_AN_HOUR = "3.6"
PAGE_TOKEN = "a-token-of-operators"

Samples = Counter[tuple[str, frozenset[tuple[str, str]]]]


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    return {"EXTENTS_GPU_USD_PER_HOUR": DOLLARS_AN_HOUR, "EXTENTS_PAGE_OPERATOR_TOKEN": PAGE_TOKEN}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def workers(service: Installation) -> tuple[Worker, Worker]:
    return service.processes.start("coordinator"), service.processes.start("gpu")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outcomes(service: Installation, workers: tuple[Worker, Worker]) -> dict[str, ReceivedOutcome]:
    """One request of each outcome, all recorded as finished."""
    broken = video(FRAMES).with_chunk("modulo_1/chunk_0000000001.webm", b"this is no film")
    outcomes = [await service.run(video(FRAMES)), await service.run(broken), await service.run(video(2), model_version="unknown")]
    await service.verify_at_rest()
    return {outcome.name: outcome for _, outcome in outcomes}


async def scrape(worker: Worker) -> Samples:
    """Every sample of a worker's metrics."""
    async with aiohttp.ClientSession() as http:
        status, text = await worker.fetch(http, "metrics")
    assert status == 200
    families = text_string_to_metric_families(text)
    return Counter({(sample.name, frozenset(sample.labels.items())): sample.value for family in families for sample in family.samples})


def sample(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return f"extents_{name}", frozenset(labels.items())


def value(samples: Samples, name: str, **labels: str) -> float:
    """A sample's value; the sample must exist."""
    key = sample(name, **labels)
    assert key in samples, f"{key} is none of {sorted(name for name, _ in samples)}"
    return samples[key]


async def test_the_coordinators_metrics(outcomes: dict[str, ReceivedOutcome], workers: tuple[Worker, Worker]) -> None:
    """Requests, rejections, runs and events are counted by their result; nothing is unfinished."""
    assert set(outcomes) == {"inference.completed", "inference.failed", "inference.rejected"}
    samples = await scrape(workers[0])
    assert value(samples, "requests_total", decision="run", priority="high", replay="no") == 2
    assert value(samples, "rejections_total", rejection_type="validation_failed") == 1
    for outcome in ("completed", "failed"):
        labels = {"outcome": outcome, "priority": "high", "replay": "no"}
        assert value(samples, "runs_total", **labels) == 1
        assert value(samples, "run_duration_seconds_count", **labels) == value(samples, "request_to_outcome_seconds_count", **labels) == 1
    for name in ("request_to_start_seconds", "request_to_first_span_seconds"):
        assert value(samples, f"{name}_count", priority="high", replay="no") == 2
    for event in outcomes:
        assert value(samples, "events_total", event=event) == 1
    assert value(samples, "active_runs") == value(samples, "unfinished_runs") == value(samples, "oldest_unfinished_run_seconds") == 0


async def test_the_models_predictions_are_counted(outcomes: dict[str, ReceivedOutcome], workers: tuple[Worker, Worker]) -> None:
    """Labels, confidence and captions of the finished run are counted under its model."""
    body = outcomes["inference.completed"].body
    samples = await scrape(workers[0])
    model = {"model_version": body["model_version"]}
    assert {label: value(samples, "label_pairs_total", label=label, **model) for label in body["label_counts"]} == body["label_counts"]
    assert value(samples, "captions_total", **model) == body["caption_count"]
    assert value(samples, "film_seconds_total", **model) == FRAMES / 10
    for direction in ("forward", "backward"):
        bands = [
            count
            for (name, labels), count in samples.items()
            if name == "extents_confidence_pairs_total" and ("direction", direction) in labels
        ]
        assert sum(bands) == FRAMES - 1


async def test_what_is_outstanding(outcomes: dict[str, ReceivedOutcome], workers: tuple[Worker, Worker]) -> None:
    """The coordinator reports what is outstanding in the installation; a GPU worker does not."""
    async with asyncio.timeout(WAIT_SECONDS):
        samples = await scrape(workers[0])
        # Gauges are updated every 15 s: wait for an update after the failed run's letter, with all spans done.
        while samples[sample("unhandled_dead_letters", reason="span_failed")] != 1 or value(samples, "gpu_backlog_spans", priority="high"):
            await asyncio.sleep(0.5)
            samples = await scrape(workers[0])
    assert value(samples, "unacknowledged_rejections", rejection_type="validation_failed") >= 1
    assert value(samples, "gpu_backlog_seconds", priority="high") == 0
    assert value(samples, "gpu_workers") == 1
    assert value(samples, "gpu_pairs_per_second") > 0
    assert value(samples, "jobs", status="queued", priority="high") >= 0
    assert value(samples, "spend_today_usd") > 0
    assert value(samples, "replays", state="running") == 0
    assert not any(name == "extents_jobs" for name, _ in await scrape(workers[1]))


async def test_exemplars_name_the_run(outcomes: dict[str, ReceivedOutcome], workers: tuple[Worker, Worker]) -> None:
    """Clients that accept OpenMetrics get a run's id with a duration."""
    async with aiohttp.ClientSession(headers={"Accept": "application/openmetrics-text"}) as http:
        status, text = await workers[0].fetch(http, "metrics")
    assert status == 200
    assert text.endswith("# EOF\n")
    run_id = outcomes["inference.completed"].body["run_id"]
    assert any(line.startswith("extents_run_duration_seconds_bucket") and f'# {{run_id="{run_id}"}}' in line for line in text.splitlines())


async def test_the_gpu_workers_metrics(service: Installation, outcomes: dict[str, ReceivedOutcome], workers: tuple[Worker, Worker]) -> None:
    """Spans, pairs and GPU time agree with the results topic, dollars follow from the time, and nothing is held."""
    samples = await scrape(workers[1])
    done = [record for run in outcomes.values() if "run_id" in run.body for record in service.ledger.spans(run.body["run_id"])[1]]
    assert all(isinstance(record, SpanDone) for record in done)
    gpu_seconds = sum(record.gpu_seconds for record in done)
    assert value(samples, "spans_total", disposition="done", priority="high") == len(done) >= 2
    assert value(samples, "spans_total", disposition="failed", priority="high") == 1
    assert value(samples, "pairs_total", precision="float32") >= FRAMES - 1
    assert value(samples, "gpu_seconds_total") == pytest.approx(gpu_seconds)
    assert value(samples, "gpu_cost_usd_total") == pytest.approx(gpu_seconds / 1000)
    for stage in ("fetch", "decode", "predict", "send"):
        assert value(samples, "stage_duration_seconds_count", stage=stage) >= len(done)
    assert value(samples, "spans_held", priority="high") == value(samples, "span_bytes_held") == 0
    assert value(samples, "models_loaded") == 1
    assert value(samples, "fetched_bytes_total") > 0
    assert value(samples, "decoded_bytes_total") > value(samples, "fetched_bytes_total")
    assert value(samples, "span_wait_seconds_count", priority="high") >= len(done)
    assert value(samples, "rebalances_total") >= 1
    assert value(samples, "ready") == 1
    assert value(samples, "batch_size") == 32
    assert sum(count for (name, _), count in samples.items() if name in ("extents_model_info", "extents_device_info")) == 2
    assert value(samples, "records_in_flight", topic=service.topics.work_high) == 0


async def test_the_coordinator_serves_the_live_page(outcomes: dict[str, ReceivedOutcome], workers: tuple[Worker, Worker]) -> None:
    """Without the token there is only a login; with it, the events show ended runs, and a run's page shows its spans."""
    run_id = outcomes["inference.completed"].body["run_id"]
    address = f"{workers[0].address}/ui"
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        for path in ("/", "/events", f"/runs/{run_id}"):
            async with http.get(address + path) as answer:
                assert answer.url.path == "/ui/login"
                assert run_id[:8] not in await answer.text()
        async with http.post(f"{address}/login", data={"token": PAGE_TOKEN}) as answer:
            assert (answer.status, answer.url.path) == (200, "/ui/")
        async with http.get(f"{address}/events") as events, asyncio.timeout(WAIT_SECONDS):
            event = orjson.loads((await events.content.readuntil(b"\n\n")).removeprefix(b"data: "))
            assert event.keys() == {"parts", "charts"}
            recent, rejections = event["parts"]["recent"], event["parts"]["rejections"]
            assert all(outcome.body["run_id"][:8] in recent for outcome in outcomes.values() if "run_id" in outcome.body)
            assert outcomes["inference.rejected"].body["video_id"][:8] in rejections
            assert sum(event["charts"][1]) > 0
        async with http.get(f"{address}/runs/{run_id}") as answer:
            text = await answer.text()
            assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
            assert "run finished" in text
            assert text.count('class="spanbar"') == 2


async def test_logs_name_run_and_video(outcomes: dict[str, ReceivedOutcome], workers: tuple[Worker, Worker]) -> None:
    """Each line is JSON, and lines about a span or a run can be searched by their ids."""
    for worker, events in zip(workers, ({"run.finished"}, {"span.done", "span.failed"}), strict=True):
        lines = [orjson.loads(line) for line in worker.log.read_bytes().splitlines()]
        assert all({"event", "level", "timestamp"} <= line.keys() for line in lines)
        logged = {(line["event"], line.get("run_id"), line.get("video_id")) for line in lines}
        for name in ("inference.completed", "inference.failed"):
            body = outcomes[name].body
            assert any((event, body["run_id"], body["video_id"]) in logged for event in events), f"{worker.name} says nothing of {name}"


async def test_waiting_records_show_in_metrics(
    service: Installation, outcomes: dict[str, ReceivedOutcome], workers: tuple[Worker, Worker]
) -> None:
    """While a span computes, the next one is fetched and decoded; lag, depth and age of unfinished work show in both workers."""
    coordinator, healthy = workers
    assert await healthy.stopped() == 0
    busy = service.processes.start("gpu", Fault("streams.gpu_worker.predictor:SpanPredictor.predict", "before", how="hang"))
    await service.submit(await service.add(video(TWO_SPANS)), TWO_SPANS)
    async with asyncio.timeout(WAIT_SECONDS):
        await busy.ready()
        work = {"topic": service.topics.work_high}
        samples = await scrape(busy)
        while samples[sample("stage_duration_seconds_count", stage="decode")] < 2 or samples[sample("consumer_lag_records", **work)] < 2:
            await asyncio.sleep(0.2)
            samples = await scrape(busy)
    assert value(samples, "spans_held", priority="high") == value(samples, "records_in_flight", **work) == 2
    assert value(samples, "consumer_lag_records", **work) == 2
    assert samples[sample("stage_duration_seconds_count", stage="predict")] == 0
    assert value(samples, "oldest_record_seconds", **work) > 0
    samples = await scrape(coordinator)
    assert value(samples, "active_runs") == 1
    assert value(samples, "oldest_unfinished_run_seconds") > 0
    await busy.killed()
    service.processes.start("gpu")
    await service.verify_at_rest()
