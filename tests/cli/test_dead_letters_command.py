"""``extents dead-letters`` against a real broker."""

import asyncio
import io
import json
import uuid

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from core.identity import run_id
from core.settings import Settings
from core.types import Precision, Priority
from streams.kafka.connection import client_options
from streams.kafka.topic_admin import ensure_topics
from streams.policy.dead_letters import dead_letter
from streams.records import Origin, VideoEncoded, Work, decode
from streams.topics import Topics

TENANT, VIDEO = uuid.UUID(int=1), uuid.UUID(int=2)


def work(span: int, *, forced: bool = False) -> Work:
    run = run_id(TENANT, VIDEO, 1, "m", uuid.UUID(int=9) if forced else None)
    return Work(
        run_id=run,
        attempt=2,
        tenant_id=TENANT,
        video_id=VIDEO,
        cropped_frames_version=1,
        frame_count=2000,
        model_version="m",
        checkpoint_sha256="a" * 64,
        precision=Precision.FLOAT32,
        layout_sha256="b" * 64,
        priority=Priority.LOW,
        span=span,
    )


@pytest.fixture
def settings(namespace, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """An installation that belongs to this test, with empty topics."""
    monkeypatch.setenv("COLUMNS", "200")  # no column is cut
    few = dict.fromkeys(("EXTENTS_WORK_PARTITIONS", "EXTENTS_REQUEST_PARTITIONS", "EXTENTS_RESULTS_PARTITIONS"), "1")
    for name, value in {**namespace.env, **few}.items():
        monkeypatch.setenv(name, value)
    current = Settings()
    asyncio.run(ensure_topics(Topics(current.topics).specs(), current.kafka))
    return current


async def dead_letters(settings: Settings, *letters: tuple[str, bytes, str]) -> None:
    topics = Topics(settings.topics)
    async with AIOKafkaProducer(**client_options(settings.kafka)) as producer:
        for offset, (topic, value, reason) in enumerate(letters):
            origin = Origin(topic=topics.name(topic), partition=0, offset=offset)
            headers = {"traceparent": b"00-1", "handled": b"0/0"}  # a header "handled" of the record's producer does not mark the letter
            letter = dead_letter(b"the key", value, headers, origin, reason, "an error", 2)
            await producer.send_and_wait(topics.dead_letter, letter.value, key=letter.key, headers=list(letter.headers.items()))


async def records(settings: Settings, topic: str) -> list[tuple[bytes, dict[str, bytes]]]:
    async with AIOKafkaConsumer(**client_options(settings.kafka)) as consumer:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        (end,) = (await consumer.end_offsets([partition])).values()
        return [(record.value, dict(record.headers)) for record in [await consumer.getone() for _ in range(end)]]


def test_letters_are_listed_by_topic_and_reason(extents, settings: Settings) -> None:
    """Dead letters are listed as a table or JSON, filtered by topic, reason and time."""
    asyncio.run(dead_letters(settings, ("video.encoded", b"{", "undecodable"), ("inference.work.low", work(0).to_bytes(), "span_failed")))
    listed = json.loads(extents("dead-letters", "list", "--json").out)
    assert [(letter["place"], letter["reason"], letter["handled"], letter["headers"]["tries"]) for letter in listed] == [
        ("0/0", "undecodable", None, "2"),
        ("0/1", "span_failed", None, "2"),
    ]
    assert "0/1" in extents("dead-letters", "list", "--topic", "inference.work.low").out
    assert [json.loads(line) for line in extents("dead-letters", "list", "--json-lines").out.splitlines()] == listed
    assert json.loads(extents("dead-letters", "list", "--reason", "poison", "--json").out) == []
    assert json.loads(extents("dead-letters", "list", "--until", "1h", "--json").out) == []
    assert len(json.loads(extents("dead-letters", "list", "--since", "1h", "--json").out)) == 2


def test_a_letter_is_shown_whole(extents, settings: Settings) -> None:
    """A letter is shown by its position, with the original bytes and every header."""
    asyncio.run(dead_letters(settings, ("video.encoded", b'{"no": "ids"}', "undecodable")))
    shown = extents("dead-letters", "show", "0/0").out
    assert '{"no": "ids"}' in shown
    assert "00-1" in shown
    assert "an error" in shown


@pytest.mark.parametrize("options", [(), ("--json",)])
@pytest.mark.usefixtures("settings")
def test_an_absent_letter_ends_with_status_1(extents, options) -> None:
    """Showing a letter that does not exist ends with status 1."""
    done = extents("dead-letters", "show", "0/17", *options)
    assert (done.status, done.err) == (1, "no such dead letter\n")
    assert done.out == ("[]\n" if options else "")


def test_a_failed_run_is_requested_once_however_many_letters_it_has(extents, settings: Settings) -> None:
    """Two dead letters of one attempt give one low-priority request that names both positions, and another redrive sends nothing."""
    letters = [("inference.work.low", work(span).to_bytes(), "span_failed") for span in (0, 1)]
    asyncio.run(dead_letters(settings, *letters))
    assert extents("dead-letters", "redrive", "--yes").status == 0
    assert json.loads(extents("dead-letters", "redrive", "--yes", "--json").out) == []
    ((value, headers),) = asyncio.run(records(settings, Topics(settings.topics).encoded_low))
    request = decode(VideoEncoded, value)
    assert (request.video_id, request.frame_count, request.model_version, request.force) == (VIDEO, 2000, "m", False)
    assert request.event_id is not None
    assert headers["redriven_from"] == b"0/0 0/1"
    assert [letter["handled"] for letter in json.loads(extents("dead-letters", "list", "--handled", "--json").out)] == [
        "redriven",
        "redriven",
    ]


def test_a_forced_run_is_forced_again(extents, settings: Settings) -> None:
    """A forced run, recognised by its id, is requested with force again."""
    asyncio.run(dead_letters(settings, ("inference.work.low", work(0, forced=True).to_bytes(), "span_failed")))
    extents("dead-letters", "redrive", "--yes")
    ((value, _),) = asyncio.run(records(settings, Topics(settings.topics).encoded_low))
    assert decode(VideoEncoded, value).force is True


def test_another_record_goes_back_as_it_was(extents, settings: Settings) -> None:
    """A record is sent back to its topic with its bytes and own headers, without the headers of the dead letter."""
    asyncio.run(dead_letters(settings, ("video.encoded", b"\xff not JSON", "undecodable")))
    extents("dead-letters", "redrive", "--yes")
    ((value, headers),) = asyncio.run(records(settings, Topics(settings.topics).encoded))
    assert value == b"\xff not JSON"
    assert headers == {"traceparent": b"00-1", "handled": b"0/0", "redriven_from": b"0/0"}


def test_nothing_is_sent_without_consent(extents, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan is shown before the question, and without an answer nothing is sent."""
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    asyncio.run(dead_letters(settings, ("video.encoded", b"{", "undecodable")))
    done = extents("dead-letters", "redrive")
    assert done.status == 1
    assert "send the record to" in done.out
    assert asyncio.run(records(settings, Topics(settings.topics).encoded)) == []


def test_brokers_that_are_not_there_are_named(extents, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unreachable brokers or a missing topic give one line that names them, without a traceback."""
    monkeypatch.setenv("EXTENTS_TOPIC_PREFIX", "nowhere.")
    done = extents("dead-letters", "list")
    assert (done.status, done.err.count("\n")) == (1, 1)
    assert "no topic nowhere.inference.dead-letter" in done.err
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    done = extents("dead-letters", "list")
    assert (done.status, done.err.count("\n")) == (1, 1)
    assert "brokers at 127.0.0.1:1 (PLAINTEXT)" in done.err


def test_a_discarded_letter_is_listed_no_more(extents, settings: Settings) -> None:
    """A discarded letter stays in the topic, and only ``--handled`` lists it."""
    asyncio.run(dead_letters(settings, ("video.encoded", b"{", "undecodable"), ("video.encoded", b"[", "undecodable")))
    assert extents("dead-letters", "discard", "0/0", "--note", "test data", "--yes").status == 0
    assert [letter["place"] for letter in json.loads(extents("dead-letters", "list", "--json").out)] == ["0/1"]
    assert [letter["handled"] for letter in json.loads(extents("dead-letters", "list", "--handled", "--json").out)] == ["discarded", None]
