"""Sends what a plan makes of dead letters, and marks the letters."""

from collections.abc import Sequence
from typing import Final

from aiokafka import AIOKafkaProducer

from core.settings import KafkaSettings
from streams.kafka.connection import client_options
from streams.kafka.dead_letter_reader import REDRIVEN, DeadLetterReader
from streams.policy.redrive import Step
from streams.topics import Topics

MAX_REQUEST_BYTES: Final = 4_194_304
"""As the workers' own producers: a letter may be as large."""


async def carry_out(kafka: KafkaSettings, topics: Topics, steps: Sequence[Step]) -> None:
    """Each record is confirmed before its letters are marked.

    If the process dies in between, the next one may send the record again. A request then has the same id, so it is recognised;
    any other record can come back as a second dead letter.
    """
    reader = DeadLetterReader(kafka, topics)
    async with AIOKafkaProducer(**client_options(kafka), acks="all", max_request_size=MAX_REQUEST_BYTES) as producer:
        for step in steps:
            await producer.send_and_wait(step.topic, step.value, key=step.key, headers=list(step.headers.items()))
            await reader.acknowledge(list(step.letters), REDRIVEN, step.action)
