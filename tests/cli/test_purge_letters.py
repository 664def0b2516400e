"""``extents purge`` deals with the dead letters of what it purges."""

import asyncio
import json
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from core.settings import KafkaSettings, Settings
from streams.kafka.connection import client_options
from streams.kafka.topic_admin import ensure_topics
from streams.records import VideoEncoded
from streams.topics import Topics
from tests.cli.operating import move_in
from tests.cli.test_dead_letters_command import dead_letters


@pytest.fixture
def settings(namespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    move_in(namespace, monkeypatch, tmp_path)
    current = Settings()
    asyncio.run(ensure_topics(Topics(current.topics).specs(), current.kafka))
    return current


def request(tenant: UUID, video: UUID) -> tuple[str, bytes, str]:
    record = VideoEncoded(tenant_id=tenant, video_id=video, cropped_frames_version=1, frame_count=40)
    return "video.encoded", record.to_bytes(), "poison"


async def first_offset(kafka: KafkaSettings, topic: str) -> int:
    """Return the first offset that is still there."""
    async with AIOKafkaConsumer(**client_options(kafka)) as consumer:
        partition = TopicPartition(topic, 0)
        return int((await consumer.beginning_offsets([partition]))[partition])


def test_letters_are_marked_and_deleted_where_the_log_allows_it(extents, settings: Settings) -> None:
    """Letters at the beginning are deleted; a letter behind another tenant's is only marked, and the command says until when it stays."""
    tenant, video, other = uuid4(), uuid4(), uuid4()
    undecodable = ("video.encoded", b"broken bytes of " + str(video).encode(), "undecodable")
    asyncio.run(dead_letters(settings, request(tenant, video), undecodable, request(tenant, other), request(tenant, video)))
    topic = Topics(settings.topics).dead_letter
    ids = ("--tenant", tenant, "--video", video)
    done = extents("purge", *ids, "--reason", "asked for", "--yes")
    assert done.status == 0, done.err
    assert "letters  3" in done.out
    assert "1 of 3 dead letters stay in their topic until 20" in done.err
    assert asyncio.run(first_offset(settings.kafka, topic)) == 2
    listed = json.loads(extents("dead-letters", "list", "--json").out)
    assert [letter["place"] for letter in listed] == ["0/2"]
    kept = json.loads(extents("dead-letters", "list", "--handled", "--json").out)
    assert [(letter["place"], letter["handled"]) for letter in kept] == [("0/2", None), ("0/3", "purged")]
    again = json.loads(extents("purge", *ids, "--yes", "--json").out)
    assert (again["objects"], again["letters"]["marked"], again["letters"]["kept"]) == (0, 1, 1)
    whole = extents("purge", "--tenant", tenant, "--yes")
    assert "letters  2" in whole.out
    assert "stay in their topic" not in whole.err, "with everything before them purged, all are deleted"
    assert json.loads(extents("dead-letters", "list", "--handled", "--json").out) == []
