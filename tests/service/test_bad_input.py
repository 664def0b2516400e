"""A faulty request or video is reported as a rejection with its row, or as a failure that names the chunk."""

import gzip
import io
import json
import uuid
from dataclasses import replace

import pytest
import pytest_asyncio
from aiokafka import ConsumerRecord

from core.types import Priority
from storage.layout_writer import pack_layout
from streams.kafka.client import Published
from tests.service.installation import Installation
from tests.service.ledger import record_position
from tests.service.videos import LAYOUT, chunk, video

pytestmark = pytest.mark.asyncio(loop_scope="module")

MAX_FRAMES = 3000


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    # Of the default price and speed 1,637 pairs cost half a cent.
    return {"EXTENTS_MAX_FRAME_COUNT": str(MAX_FRAMES), "EXTENTS_MAX_COST_USD": "0.005"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(service: Installation) -> Installation:
    """One coordinator and one GPU worker, as users start them."""
    service.processes.command("coordinator")
    service.processes.command("gpu")
    return service


def event(**fields: object) -> dict[str, object]:
    """A request as written in its record."""
    ids = {"schema_version": 1, "tenant_id": str(uuid.uuid4()), "video_id": str(uuid.uuid4())}
    return {**ids, "cropped_frames_version": 1, "frame_count": 40, **fields}


def as_json(fields: dict[str, object]) -> bytes:
    return json.dumps(fields).encode()


def without(fields: dict[str, object], *names: str) -> dict[str, object]:
    return {name: value for name, value in fields.items() if name not in names}


async def rejected(service: Installation, published: Published, kind: str = "validation_failed") -> str:
    """The message of a rejection, which is the same in the event and the row."""
    outcome = await service.ledger.outcome(published)
    assert (outcome.name, outcome.body["rejection_type"]) == ("inference.rejected", kind)
    row = await service.verifier.rejection(outcome.body["request_id"])
    assert row is not None
    message: str = outcome.body["message"]
    assert (row["rejection_type"], row["rejection_message"]) == (kind, message)
    return message


@pytest.mark.parametrize(
    ("value", "message"),
    [
        pytest.param(b"\xff\xfenot json", "JSON", id="no-json"),
        pytest.param(b"", "JSON", id="empty"),
        pytest.param(None, "JSON", id="null"),
        pytest.param(b"[1, 2]", "object", id="no-object"),
        pytest.param(as_json(without(event(), "video_id")), "video_id", id="no-video-id"),
        pytest.param(as_json(event(tenant_id=7)), "tenant_id", id="number-for-an-id"),
        pytest.param(as_json(event(video_id="../../other-tenant/video")), "video_id", id="path-for-an-id"),
        pytest.param(as_json(event(tenant_id=f"{uuid.uuid4()}/..")), "tenant_id", id="path-after-an-id"),
        pytest.param(as_json(event(video_id="{" + str(uuid.uuid4()) + "}")), "video_id", id="id-in-braces"),
    ],
)
async def test_a_record_without_ids_is_rejected_and_kept(running: Installation, value: bytes | None, message: str) -> None:
    """A record without ids is answered with a rejection that carries its key, and kept unchanged as a dead letter."""
    published = await running.send(value, key=b"some key", headers={"trace": b"\x00\x01"})
    outcome = await running.ledger.outcome(published)
    assert (outcome.name, outcome.body["rejection_type"]) == ("inference.rejected", "validation_failed")
    assert outcome.body["received_key"] == "some key"
    assert message in outcome.body["message"]
    (letter,) = await running.ledger.until("its dead letter", lambda: letters_from(running, published))
    assert (letter.key, letter.value) == (b"some key", value or b"")
    assert dict(letter.headers)["trace"] == b"\x00\x01"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param(without(event(), "frame_count"), "frame_count", id="no-frame-count"),
        pytest.param(without(event(), "cropped_frames_version"), "cropped_frames_version", id="no-version"),
        pytest.param(event(frame_count="40"), "frame_count", id="text-for-a-number"),
        pytest.param(event(frame_count=10**30), "frame_count", id="a-number-of-31-digits"),
        pytest.param(event(cropped_frames_version=0), "cropped_frames_version", id="version-0"),
        pytest.param(event(force="yes"), "force", id="text-for-a-boolean"),
        pytest.param(event(priority="urgent"), "priority", id="a-third-priority"),
        pytest.param(event(model_version="../../secret"), "model_version", id="path-for-a-model"),
        pytest.param(event(event_id="a\u0000b" * 100), "event_id", id="a-long-event-id"),
    ],
)
async def test_a_record_with_ids_and_wrong_fields_is_rejected(running: Installation, fields: dict[str, object], message: str) -> None:
    """A record with readable ids is rejected by an event and a row, which both name the field."""
    published = await running.send(as_json(fields), key=str(fields["video_id"]).encode())
    assert message in await rejected(running, published)


async def test_unknown_model(running: Installation) -> None:
    """A request for an unknown model is rejected, and the message lists the existing ones."""
    published, _ = await running.run(video(40), model_version="nobody-knows-me")
    message = await rejected(running, published)
    assert "nobody-knows-me" in message
    assert "builtin-" in message


async def test_unknown_version(running: Installation) -> None:
    """A version without any chunk is rejected; the message names it."""
    published, _ = await running.run(video(40), cropped_frames_version=7)
    assert "version 7" in await rejected(running, published)


async def test_missing_chunk(running: Installation) -> None:
    """A video that lacks a chunk is rejected, naming the first that is missing."""
    published, _ = await running.run(video(513).with_chunk("modulo_4/chunk_0000000172.webm", None))
    assert "modulo_4/chunk_0000000172.webm" in await rejected(running, published)


async def test_more_frames_than_chunks(running: Installation) -> None:
    """A frame count above the number of encoded frames is rejected because chunks are missing."""
    published = await running.submit(await running.add(video(512)), 513)
    assert "modulo_16/chunk_0000000512.webm" in await rejected(running, published)


async def test_no_layout(running: Installation) -> None:
    """A video without a layout is rejected, naming where it was looked for."""
    published, _ = await running.run(replace(video(40), layout=None))
    assert "layout.db.gz" in await rejected(running, published)


async def test_empty_layout(running: Installation) -> None:
    """An empty layout file is rejected by name."""
    published, _ = await running.run(replace(video(40), layout=b""))
    assert "layout.db" in await rejected(running, published)


async def test_layout_that_expands_without_end(running: Installation) -> None:
    """A packed layout that expands to far more than a layout's size is rejected, with no other effect."""
    video_id = await running.add(replace(video(40), layout=None))
    await running.store.put(running.keys.layout(running.tenant_id, video_id) + ".gz", _packed_zeros(300 * 2**20))
    published = await running.submit(video_id, 40)
    assert "expands to more than" in await rejected(running, published)


async def test_packed_layout(running: Installation) -> None:
    """A valid packed layout works like a plain one."""
    video_id = await running.add(replace(video(40), layout=None))
    await running.store.put(running.keys.layout(running.tenant_id, video_id) + ".gz", gzip.compress(pack_layout(LAYOUT)))
    published = await running.submit(video_id, 40)
    assert (await running.ledger.outcome(published)).name == "inference.completed"


@pytest.mark.parametrize("frame_count", [1, 0, -5])
async def test_too_few_frames(running: Installation, frame_count: int) -> None:
    """Fewer than two frames hold no pair and are rejected."""
    published = await running.submit(await running.add(video(40)), frame_count)
    assert f"frame_count is {frame_count}" in await rejected(running, published)


@pytest.mark.parametrize(("frame_count", "spans"), [(2, 1), (512, 1), (513, 1), (1025, 2)])
async def test_frame_counts_around_a_span(running: Installation, frame_count: int, spans: int) -> None:
    """Videos that end near the end of a span have a pair for every frame but the last, in the right number of spans."""
    _, outcome = await running.run(video(frame_count))
    assert (outcome.name, outcome.body["pairs"]) == ("inference.completed", frame_count - 1)
    taken, done = running.ledger.spans(outcome.body["run_id"])
    assert sorted(record.span for record in done) == sorted(record.span for record in taken) == list(range(spans))


async def test_too_many_frames(running: Installation) -> None:
    """More frames than the limit are rejected, naming both and the setting."""
    published = await running.submit(uuid.uuid4(), MAX_FRAMES + 1)
    message = await rejected(running, published, "frame_count_exceeded")
    assert all(part in message for part in (str(MAX_FRAMES + 1), str(MAX_FRAMES), "EXTENTS_MAX_FRAME_COUNT"))


async def test_too_expensive(running: Installation) -> None:
    """An estimate over the limit is rejected, naming the setting."""
    published = await running.submit(uuid.uuid4(), MAX_FRAMES)
    outcome = await running.ledger.outcome(published)
    assert "EXTENTS_MAX_COST_USD" in await rejected(running, published, "cost_exceeded")
    assert outcome.body["estimated_cost_usd"] == pytest.approx((MAX_FRAMES - 1) / 100 / 3600 * 1.10)


async def test_forced_too_soon(running: Installation) -> None:
    """A forced run of a video that was just admitted is rejected, naming the setting."""
    published, outcome = await running.run(video(2), event_id="first")
    assert outcome.name == "inference.completed"
    video_id = uuid.UUID(outcome.body["video_id"])
    again = await running.submit(video_id, 2, force=True, event_id="second")
    assert again.request_id != published.request_id
    assert "EXTENTS_RATE_LIMIT_SECONDS" in await rejected(running, again, "rate_limited")


async def test_video_of_another_tenant(running: Installation) -> None:
    """A video with a run of one tenant is rejected for another."""
    _, outcome = await running.run(video(2))
    stranger, video_id = uuid.uuid4(), uuid.UUID(outcome.body["video_id"])
    await video(2).upload(running.store, running.keys, stranger, video_id)
    published = await running.submit(video_id, 2, tenant_id=stranger)
    assert "another tenant" in await rejected(running, published)


def _halved(name: str) -> bytes:
    data = video(513).chunks[name]
    return data[: len(data) // 2]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        pytest.param("modulo_1/chunk_0000000001.webm", b"this is no film", id="no-webm"),
        pytest.param("modulo_16/chunk_0000000512.webm", b"", id="empty"),
        pytest.param("modulo_1/chunk_0000000043.webm", None, id="truncated"),
        pytest.param("modulo_4/chunk_0000000004.webm", chunk(31), id="a-frame-missing"),
        pytest.param("modulo_4/chunk_0000000172.webm", chunk(32, height=40), id="another-size"),
    ],
)
async def test_a_chunk_that_cannot_be_used(running: Installation, name: str, data: bytes | None) -> None:
    """A fault that only decoding reveals gives a failure that names the chunk, with the work record as one dead letter."""
    broken = video(513).with_chunk(name, _halved(name) if data is None else data)
    _, outcome = await running.run(broken)
    assert outcome.name == "inference.failed"
    assert name in outcome.body["reason"]
    await running.ledger.finished(outcome.body["run_id"])
    (letter,) = letters_of(running, outcome.body["run_id"])
    assert letter.key == f"{outcome.body['run_id']}:0".encode()
    assert dict(letter.headers)["reason"] == b"span_failed"
    assert name in dict(letter.headers)["error"].decode()
    (record,) = (work for work in running.ledger.records["inference.work.high"] if work.key == letter.key)
    assert letter.value == record.value
    assert dict(letter.headers)["origin"].decode() == record_position(record.topic, record.partition, record.offset)


async def test_spans_of_two_sizes(running: Installation) -> None:
    """Two spans that are valid but of different sizes give a failure that names both sizes."""
    larger = video(1025)
    for name in ("modulo_16/chunk_0000000512.webm", *(name for name in larger.chunks if _second_span(name))):
        frames = 1 if name.endswith("1024.webm") else 32
        larger = larger.with_chunk(name, chunk(frames, height=40))
    # The frame that the first span shares with the second lies in one of those chunks, so the first span shows it.
    _, outcome = await running.run(larger)
    assert outcome.name == "inference.failed"
    assert "64×40" in outcome.body["reason"]


async def test_a_failed_run_is_attempted_again_on_request(running: Installation) -> None:
    """A new request for a failed run starts its next attempt, which completes once the video has been repaired."""
    name = "modulo_1/chunk_0000000001.webm"
    video_id = await running.add(video(40).with_chunk(name, b"this is no film"))
    first = await running.ledger.outcome(await running.submit(video_id, 40, event_id="first"))
    assert (first.name, first.body["attempt"]) == ("inference.failed", 1)
    await running.ledger.finished(first.body["run_id"])
    await video(40).upload(running.store, running.keys, running.tenant_id, video_id)
    second = await running.ledger.outcome(await running.submit(video_id, 40, event_id="second"))
    assert (second.name, second.body["attempt"], second.body["run_id"]) == ("inference.completed", 2, first.body["run_id"])


async def test_low_priority_has_its_own_topic(running: Installation) -> None:
    """A low-priority request is read from its own topic, its spans are sent to theirs, and it completes."""
    _, outcome = await running.run(video(40), priority=Priority.LOW)
    assert outcome.name == "inference.completed"
    assert outcome.body["requests"][0]["source_topic"] == running.topics.encoded_low
    keys = {record.key for record in running.ledger.records["inference.work.low"]}
    assert f"{outcome.body['run_id']}:0".encode() in keys


async def test_all_of_it_is_accounted_for(running: Installation) -> None:
    """At the end every record is acknowledged, and every request has its outcome, its row and, if it needs one, its dead letter."""
    evidence = await running.verify_at_rest()
    assert {"inference.rejected", "inference.failed", "inference.completed"} <= {outcome.name for outcome in evidence.outcomes.values()}


def letters_from(service: Installation, published: Published) -> list[ConsumerRecord]:
    """Dead letters of a request."""
    origin = record_position(published.topic, published.partition, published.offset).encode()
    return [letter for letter in service.ledger.records["inference.dead-letter"] if dict(letter.headers)["origin"] == origin]


def letters_of(service: Installation, run_id: str) -> list[ConsumerRecord]:
    """Dead letters of a run."""
    return [letter for letter in service.ledger.records["inference.dead-letter"] if dict(letter.headers).get("run_id") == run_id.encode()]


def _second_span(name: str) -> bool:
    return 512 <= int(name[-15:-5]) <= 1024


def _packed_zeros(size_bytes: int) -> bytes:
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=1) as packed:
        for _ in range(size_bytes // 2**20):
            packed.write(bytes(2**20))
    return buffer.getvalue()
