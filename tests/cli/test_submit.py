"""``extents submit`` publishes a request for a video in the store, and follows it to its outcome."""

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from core.identity import request_id
from core.settings import KafkaSettings, KeySettings, TopicSettings, WasabiSettings
from devstack.workers import Role, worker
from inference.models.builtin import builtin_model_version
from storage.connect import object_keys, open_store
from streams.kafka.topic_admin import ensure_topics
from streams.topics import Topics
from tests.cli.processes import clean_environment

CROP = "10,200,311,240"


@pytest.fixture
def environment(namespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """An installation whose topics do not exist yet, with one partition each."""
    monkeypatch.chdir(tmp_path)
    for name in set(os.environ) - set(clean_environment()):
        monkeypatch.delenv(name)
    settings = {**namespace.env, **{f"EXTENTS_{kind}_PARTITIONS": "1" for kind in ("REQUEST", "WORK", "RESULTS")}}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return settings


@pytest.fixture
def topics(environment: dict[str, str]) -> Topics:
    topics_of_test = Topics(TopicSettings())
    asyncio.run(ensure_topics(topics_of_test.specs(), KafkaSettings()))
    return topics_of_test


@pytest.fixture
def video(extents, film: Path, topics: Topics, namespace) -> tuple[UUID, UUID]:
    """A video of twenty frames in the store, of this test's tenant."""
    tenant, video = UUID(namespace.tenant_id), uuid4()
    assert extents("encode", film, "--crop", CROP, *ids((tenant, video))).status == 0
    return tenant, video


def ids(video: tuple[UUID, UUID]) -> list[str]:
    return ["--tenant-id", str(video[0]), "--video-id", str(video[1])]


def published(topic: str) -> list[tuple[bytes, dict[str, object]]]:
    """Return every record of a topic with one partition."""

    async def read() -> list[tuple[bytes, dict[str, object]]]:
        partition = TopicPartition(topic, 0)
        consumer = AIOKafkaConsumer(bootstrap_servers=KafkaSettings().servers, auto_offset_reset="earliest")
        async with consumer:
            consumer.assign([partition])
            end = (await consumer.end_offsets([partition]))[partition]
            records = []
            while await consumer.position(partition) < end:
                record = await consumer.getone()
                records.append((record.key, orjson.loads(record.value)))
        return records

    return asyncio.run(read())


def test_the_frames_are_counted_in_the_store(extents, video, topics: Topics) -> None:
    """The record holds the video's ids and frame count, under the video's key, and the output names the record."""
    done = extents("submit", *ids(video))
    assert (done.status, done.err) == (0, "")
    ((key, record),) = published(topics.encoded)
    assert key == str(video[1]).encode()
    fields = {name: record[name] for name in ("tenant_id", "video_id", "cropped_frames_version", "frame_count", "priority", "force")}
    assert fields == {
        "tenant_id": str(video[0]),
        "video_id": str(video[1]),
        "cropped_frames_version": 1,
        "frame_count": 20,
        "priority": "high",
        "force": False,
    }
    expected = request_id(video[0], video[1], 1, str(record["event_id"]))
    assert [line.split() for line in done.out.splitlines()] == [
        ["request", str(expected)],
        ["frames", "20"],
        ["record", f"{topics.encoded}/0/0"],
    ]


def test_every_choice_is_in_the_record(extents, video, topics: Topics) -> None:
    """Every option is in the record, low priority has its own topic, and JSON gives the request."""
    choices = ["--model-version", "v7", "--priority", "low", "--force", "--event-id", "again", "--version", "3", "--frame-count", "99"]
    done = extents("submit", *ids(video), *choices, "--json")
    assert (done.status, done.err) == (0, "")
    assert published(topics.encoded) == []
    ((_, record),) = published(topics.encoded_low)
    assert (record["model_version"], record["priority"], record["force"]) == ("v7", "low", True)
    assert (record["event_id"], record["cropped_frames_version"], record["frame_count"]) == ("again", 3, 99)
    assert json.loads(done.out) == {
        "request_id": str(request_id(video[0], video[1], 3, "again")),
        "event_id": "again",
        "frame_count": 99,
        "record": f"{topics.encoded_low}/0/0",
    }


def test_a_video_that_is_not_there_is_not_submitted(extents, topics: Topics, namespace) -> None:
    """A missing video gives an error with the prefix and the command that stores a video; nothing is published."""
    unknown = (UUID(namespace.tenant_id), uuid4())
    done = extents("submit", *ids(unknown))
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith(f"error: s3://{namespace.bucket}/videos/{unknown[0]}/{unknown[1]}/cropped_frames_v1: no chunks")
    assert f"extents encode VIDEO --tenant-id {unknown[0]} --video-id {unknown[1]}" in done.err
    assert published(topics.encoded) == []


def test_other_objects_beside_the_chunks_do_not_count(extents, video, topics: Topics) -> None:
    """Frames are counted only from chunks, whatever other objects are beside them."""

    async def add() -> None:
        async with open_store(WasabiSettings()) as store:
            for name in ("notes.txt", "modulo_1/chunk_0000000001.webm.bak", "modulo_1/~", "modulo_16/chunk_x.webm"):
                await store.put(object_keys(KeySettings()).chunk_prefix(*video, 1, name), b"no chunk")

    asyncio.run(add())
    assert json.loads(extents("submit", *ids(video), "--json").out)["frame_count"] == 20


def test_a_missing_chunk_is_named(extents, video, topics: Topics) -> None:
    """A video with a missing chunk is rejected, and nothing is published."""

    async def change() -> None:
        async with open_store(WasabiSettings()) as store:
            await store.delete(object_keys(KeySettings()).chunk(*video, 1, "modulo_4/chunk_0000000004.webm"))

    asyncio.run(change())
    done = extents("submit", *ids(video))
    assert done.status == 1
    assert "cropped_frames_v1/modulo_4/chunk_0000000004.webm is missing" in done.err
    assert published(topics.encoded) == []


@pytest.mark.parametrize(
    "wrong",
    [["--frame-count", "-1"], ["--version", "0"], ["--model-version", "../x"], ["--event-id", ""], ["--event-id", "x" * 201]],
    ids=" ".join,
)
def test_a_wrong_choice_is_a_matter_of_usage(extents, topics: Topics, wrong: list[str]) -> None:
    """An option that no record may hold is a usage error, with status 2."""
    done = extents("submit", *ids((uuid4(), uuid4())), *wrong)
    assert (done.status, done.out) == (2, "")
    assert wrong[0] in done.err


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("watch", [[], ["--watch"]], ids=["publish", "watch"])
def test_missing_topics_are_reported_at_once(extents, namespace, watch: list[str]) -> None:
    """If the topic is missing, the command fails at once with one line that says how to create it."""
    done = extents("submit", *ids((uuid4(), uuid4())), "--frame-count", "5", *watch)
    assert (done.status, done.out) == (1, "")
    assert done.err.count("\n") == 1
    assert f"no topic {namespace.topic_prefix}" in done.err
    assert "extents topics create" in done.err


def test_brokers_that_are_not_there_are_named(extents, topics: Topics, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unreachable brokers give one line with their address, without a traceback."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    done = extents("submit", *ids((uuid4(), uuid4())), "--frame-count", "5")
    assert (done.status, done.err.count("\n")) == (1, 1)
    assert "brokers at 127.0.0.1:1 (PLAINTEXT)" in done.err


def test_watching_ends_in_time(extents, video) -> None:
    """Without an outcome, watching ends at the timeout with status 1 and the options that watch the same request again."""
    done = extents("submit", *ids(video), "--watch", "--timeout", "1", "--event-id", "mine")
    assert (done.status, done.out) == (1, "")
    assert f"request {request_id(*video, 1, 'mine')}: 20 frames" in done.err
    assert "--watch --event-id mine" in done.err


def test_a_topic_that_nobody_reads_is_named(extents, video, topics: Topics, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a coordinator, watching says so after a while, and how to start one."""
    monkeypatch.setattr("cli.service.following.PATIENCE_SECONDS", 0.2)
    done = extents("submit", *ids(video), "--watch", "--timeout", "15")
    assert done.status == 1
    assert f"waiting: nobody reads {topics.encoded}; start a worker: extents worker coordinator" in done.err


@contextmanager
def workers(environment: dict[str, str], folder: Path, *roles: Role) -> Iterator[None]:
    """Run a process for each role, ready."""
    parts = [worker(role, role, folder, environment) for role in roles]
    with asyncio.Runner() as runner:
        try:
            for part in parts:
                runner.run(part.start())
            yield
        finally:
            for part in parts:
                runner.run(part.stop())


def test_a_rejection_is_followed(extents, video, environment: dict[str, str], tmp_path: Path) -> None:
    """A rejected request ends with status 3, its type and its reason; JSON holds the whole event."""
    with workers(environment, tmp_path, "coordinator"):
        done = extents("submit", *ids(video), "--model-version", "mrn0fkfe", "--watch", "--timeout", "60")
        assert done.status == 3, done.err
        lines = [line.split(maxsplit=1) for line in done.out.splitlines()]
        assert lines[:2] == [["outcome", "rejected"], ["type", "validation_failed"]]
        assert "mrn0fkfe" in lines[2][1]
        first = extents("submit", *ids(video), "--frame-count", "1", "--watch", "--timeout", "60", "--event-id", "one", "--json")
        assert first.status == 3, first.err
        again = extents("submit", *ids(video), "--frame-count", "1", "--watch", "--timeout", "60", "--event-id", "one", "--json")
        assert (again.status, json.loads(again.out)) == (3, json.loads(first.out))
    event = json.loads(first.out)
    assert (event["event"], event["request_id"]) == ("inference.rejected", str(request_id(*video, 1, "one")))
    assert event["body"]["rejection_type"] == "validation_failed"
    assert event["headers"]["ce_type"]


def test_a_run_is_followed_to_its_end(extents, video, environment: dict[str, str], tmp_path: Path) -> None:
    """A completed run ends with status 0 and its results, a failed one with status 4 and the reason."""
    chunk = "modulo_4/chunk_0000000004.webm"

    async def spoil() -> None:
        async with open_store(WasabiSettings()) as store:
            await store.put(object_keys(KeySettings()).chunk(*video, 1, chunk), b"this is no film")

    with workers({**environment, "EXTENTS_RATE_LIMIT_SECONDS": "0"}, tmp_path, "coordinator", "gpu"):
        done = extents("submit", *ids(video), "--watch", "--timeout", "120")
        assert done.status == 0, done.err
        facts = dict(line.split(maxsplit=1) for line in done.out.splitlines())
        assert (facts["outcome"], facts["model"]) == ("completed", builtin_model_version())
        assert facts["pairs"].startswith("19: ")
        asyncio.run(spoil())
        failed = extents("submit", *ids(video), "--frame-count", "20", "--force", "--watch", "--timeout", "120")
    assert failed.status == 4, failed.err
    lines = [line.split(maxsplit=1) for line in failed.out.splitlines()]
    assert lines[0] == ["outcome", "failed"]
    assert chunk in lines[2][1]
