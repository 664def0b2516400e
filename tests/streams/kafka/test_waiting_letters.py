"""Unhandled dead letters are counted, and handled ones are not."""

import pytest
from aiokafka import AIOKafkaProducer

from streams.kafka.connection import client_options
from streams.kafka.dead_letter_reader import DeadLetterReader
from streams.kafka.topic_admin import ensure_topics
from streams.kafka.waiting_letters import WaitingLetters
from streams.policy.dead_letters import dead_letter_of
from streams.policy.record_failures import UNEXPECTED
from streams.policy.stored_letters import Selection
from streams.received import ReceivedRecord


@pytest.fixture
async def dead_letter(topics, kafka):
    """Sends a dead letter with a reason."""
    await ensure_topics([spec for spec in topics.specs() if spec.name == topics.dead_letter], kafka)
    async with AIOKafkaProducer(**client_options(kafka), acks="all") as producer:

        async def send(reason: str) -> None:
            record = ReceivedRecord(topic=topics.results, partition=0, offset=1, timestamp_ms=0, key=b"k", value=b"v", headers={})
            letter = dead_letter_of(record, reason, "it broke")
            headers = list(letter.headers.items())
            await producer.send_and_wait(topics.dead_letter, letter.value, key=letter.key, headers=headers)

        yield send


async def test_letters_are_counted_until_they_are_handled(dead_letter, topics, kafka):
    """Each read sees what was added since the last: letters by reason, and marks that remove letters."""
    async with WaitingLetters(kafka, topics) as letters:
        assert set((await letters.counts()).values()) == {0}
        for reason in ("poison", "poison", "span_failed", UNEXPECTED, "of a later version"):
            await dead_letter(reason)
        counts = await letters.counts()
        assert (counts["poison"], counts["span_failed"], counts[UNEXPECTED]) == (3, 1, 1)
        waiting = await letters.letters()
        assert [letter.reason for letter in waiting] == ["poison", "poison", "span_failed", UNEXPECTED, "of a later version"]
        assert {(letter.topic, letter.error) for letter in waiting} == {(topics.results, "it broke")}
        reader = DeadLetterReader(kafka, topics)
        await reader.acknowledge((await reader.read(Selection(reason="poison")))[:1], "discarded")
        assert (await letters.counts())["poison"] == 2
    async with WaitingLetters(kafka, topics) as again:
        assert (await again.counts())["poison"] == 2
