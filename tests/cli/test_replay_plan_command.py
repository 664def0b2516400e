"""The requests of ``extents replay plan`` and the limits of ``extents replay start``, without any worker."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiokafka import AIOKafkaProducer

from core.admission import Rejection
from core.settings import KafkaSettings, TopicSettings
from core.types import RejectionType
from streams.kafka.connection import client_options
from streams.kafka.topic_admin import ensure_topics
from streams.policy.replay_plan import REPLAY_HEADER
from streams.records import VideoEncoded
from streams.topics import Topics
from tests.cli.operating import FRAMES, completed, move_in, with_both
from tests.storage.admission_requests import limits, request

TENANT, OTHER = uuid4(), uuid4()
A, B, C = uuid4(), uuid4(), uuid4()
NOON = datetime.now(UTC).replace(microsecond=0) - timedelta(days=3)


@pytest.fixture(autouse=True)
def environment(namespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    move_in(namespace, monkeypatch, tmp_path)
    monkeypatch.setenv("EXTENTS_REQUEST_PARTITIONS", "2")


@pytest.fixture
def records() -> Topics:
    """Six records, an hour apart: video A twice, the second time with new frames, B twice, C of another tenant, and a replay's of A."""
    topics = Topics(TopicSettings())
    rows: list[tuple[str, int, UUID, UUID, int, Mapping[str, bytes]]] = [
        (topics.encoded, 0, TENANT, A, 1, {}),
        (topics.encoded, 1, TENANT, B, 1, {}),
        (topics.encoded, 0, TENANT, A, 2, {}),
        (topics.encoded, 1, TENANT, B, 1, {}),
        (topics.encoded_low, 0, OTHER, C, 1, {}),
        (topics.encoded_low, 0, TENANT, A, 2, {REPLAY_HEADER: b"earlier"}),
    ]

    async def send() -> None:
        await ensure_topics(topics.specs(), KafkaSettings())
        async with AIOKafkaProducer(**client_options(KafkaSettings()), acks="all") as producer:
            for hour, (topic, partition, tenant, video, version, headers) in enumerate(rows):
                record = VideoEncoded(tenant_id=tenant, video_id=video, cropped_frames_version=version, frame_count=FRAMES)
                at = int(1000 * (NOON + timedelta(hours=hour)).timestamp())
                await producer.send_and_wait(
                    topic, record.to_bytes(), key=str(video).encode(), partition=partition, timestamp_ms=at, headers=list(headers.items())
                )
            await producer.send_and_wait(
                topics.encoded, b"no request", partition=0, timestamp_ms=int(1000 * (NOON + timedelta(hours=6)).timestamp())
            )

    asyncio.run(send())
    return topics


def plan(extents: Any, *options: object) -> dict[str, Any]:
    done = extents("replay", "plan", "--json", "--name", f"plan-{uuid4().hex[:8]}", *options)
    assert done.status == 0, done.err
    planned: dict[str, Any] = json.loads(done.out)
    return planned


def counts(planned: Mapping[str, Any]) -> tuple[int, int, int]:
    return planned["looked_at"], planned["videos"], planned["items"]


def hour(number: float) -> str:
    return (NOON + timedelta(hours=number)).isoformat()


def test_records_are_chosen_by_time_place_and_video(extents, records: Topics, tmp_path: Path) -> None:
    """The newest record of each video counts, unless all are wanted; records of a replay and invalid ones are left out."""
    (tmp_path / "videos.txt").write_text(f"# two of them\n{A}\n\n{C}  # of another tenant\n")
    every = plan(extents)
    assert counts(every) == (7, 3, 3)
    assert every["remarks"] == ["1 record sent by a replay left out; the originals count instead", "1 record left out: not a request"]
    assert counts(plan(extents, "--all")) == (7, 3, 5)
    assert counts(plan(extents, "--from", hour(0.5), "--to", hour(2.5))) == (2, 2, 2)
    assert counts(plan(extents, "--from", "30d", "--to", hour(0.5))) == (1, 1, 1)
    assert counts(plan(extents, "--partition", 1)) == (2, 1, 1)
    assert counts(plan(extents, "--offsets", "0:1-1")) == (1, 1, 1)
    assert counts(plan(extents, "--offsets", "0:0-1", "--offsets", "1:0-0")) == (3, 2, 2)
    assert counts(plan(extents, "--tenant", OTHER)) == (7, 1, 1)
    assert counts(plan(extents, "--video", A, "--video", B)) == (7, 2, 2)
    assert counts(plan(extents, "--ids", "videos.txt")) == (7, 2, 2)


def test_a_plan_shows_what_it_costs_and_sends_nothing(extents, records: Topics) -> None:
    """The plan shows pairs, GPU hours, dollars, rate and time; the items have the requested model and priority."""
    done = extents("replay", "plan", "--tenant", OTHER, "--model", "another", "--priority", "high", "--name", "priced")
    names = [line.split("  ")[0] for line in done.out.splitlines()]
    assert names == ["plan", "looked at", "to send", "model", "priority", "pairs", "GPU", "takes"]
    assert "nothing was sent" in done.err
    shown = json.loads(extents("replay", "status", "priced", "--json").out)
    assert (shown["state"], shown["model_version"], shown["priority"]) == ("planned", "another", "high")
    assert (shown["progress"]["items"], shown["progress"]["waiting"]) == (1, 1)
    again = extents("replay", "plan", "--tenant", OTHER, "--model", "another", "--name", "priced")
    assert (again.status, "choose another --name" in again.err) == (1, True)


def test_the_registry_names_what_was_rejected_and_what_lacks_a_model(extents, records: Topics) -> None:
    """Videos are chosen by type and time of their rejections, or because their newest frames have no run of a model."""
    tenant = uuid4()
    run = completed(tenant, model_version="old")
    submitted = request(tenant, frame_count=FRAMES)
    broken = replace(request(tenant, frame_count=1), rejection=Rejection(RejectionType.COST_EXCEEDED, "of no use"))

    async def reject(rows: Any, _: Any) -> None:
        await rows.admit(replace(submitted, rejection=Rejection(RejectionType.COST_EXCEEDED, "dear")), limits())
        await rows.admit(broken, limits())

    with_both(reject)
    only = ("--tenant", tenant)
    lacking = plan(extents, "--lacking-model", "new", *only)
    assert (lacking["items"], lacking["model_version"], lacking["pairs"]) == (1, "new", run.pairs)
    assert plan(extents, "--lacking-model", "old", *only)["items"] == 0
    rejected = plan(extents, "--rejected", "cost_exceeded", "--from", "1h", *only)
    assert (rejected["videos"], rejected["items"], rejected["pairs"]) == (1, 1, FRAMES - 1)
    assert "without a usable request" in rejected["remarks"][0]
    assert plan(extents, "--rejected", "rate_limited", *only)["items"] == 0


def test_what_exists_is_left_out_unless_forced(extents, records: Topics) -> None:
    """A video with a run of the model is counted and not sent."""
    completed(TENANT, B, model_version="mine")
    ids = ("--video", B, "--model", "mine")
    planned = plan(extents, *ids)
    assert (planned["exist"], planned["items"]) == (1, 0)
    forced = plan(extents, *ids, "--force")
    assert (forced["exist"], forced["items"], forced["force"]) == (0, 1, True)


def test_a_start_sets_every_limit(extents, records: Topics) -> None:
    """All limits are stored when a replay starts; it can be paused, resumed with other limits, and cancelled."""
    assert extents("replay", "plan", "--name", "limited").status == 0
    limits_given = ("--rate", 30, "--max-cost", 2.5, "--until", "06:00", "--in-flight", 7, "--shadow", 2, "--max-change", 0.1)
    done = extents("replay", "start", "limited", *limits_given, "--yes")
    assert done.status == 0, done.err

    def shown() -> dict[str, Any]:
        replay: dict[str, Any] = json.loads(extents("replay", "status", "limited", "--json").out)
        return replay

    row = shown()
    assert (row["state"], row["rate_per_minute"], row["max_cost_usd"], row["in_flight_limit"]) == ("sampling", 30, 2.5, 7)
    assert (row["sample_size"], row["max_change"]) == (2, 0.1)
    until = datetime.fromisoformat(row["until_at"])
    assert (until.hour, until.minute) == (6, 0)
    assert timedelta() < until - datetime.now(UTC) <= timedelta(days=1)
    assert extents("replay", "start", "limited", "--yes").status == 1, "it was started already"
    assert extents("replay", "pause", "limited").status == 0
    assert shown()["reason"] == "paused by hand"
    assert extents("replay", "resume", "limited", "--max-cost", 9, "--until", "2030-01-01T06:00").status == 0
    assert (shown()["max_cost_usd"], shown()["until_at"][:10]) == (9, "2030-01-01")
    assert extents("replay", "cancel", "limited", "--yes").status == 0
    assert extents("replay", "resume", "limited").status == 1
    lines = extents("replay", "list", "--all", "--json-lines").out.splitlines()
    assert {json.loads(line)["replay_id"]: json.loads(line)["state"] for line in lines}["limited"] == "cancelled"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--lacking-model", "m", "--from", "1d"), "cannot be combined with --rejected"),
        (("--rejected", "queue_full", "--partition", "1"), "choose records of the topics"),
        (("--lacking-model", "m", "--model", "n"), "already names the model"),
        (("--offsets", "0:9-3"), "expected PARTITION:FIRST-LAST"),
        (("--from", "yesterday"), "neither a moment"),
        (("--name", "not a name"), "expected up to 64"),
    ],
)
def test_options_that_contradict_each_other_are_refused(extents, options: tuple[str, ...], message: str) -> None:
    """The exit status is 2, and the message says what is wrong."""
    done = extents("replay", "plan", *options)
    assert (done.status, message in done.err) == (2, True), done.err
