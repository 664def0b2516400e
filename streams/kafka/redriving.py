"""Carries out a redrive plan: sends each record, then marks the letters that it replaces."""

from collections.abc import Sequence
from typing import Final

from aiokafka import AIOKafkaProducer

from core.settings import KafkaSettings
from streams.kafka.connection import client_options
from streams.kafka.dead_letter_reader import REDRIVEN, DeadLetterReader
from streams.policy.redrive import Step
from streams.topics import Topics

MAX_REQUEST_BYTES: Final = 4_194_304
"""The same limit as that of the workers' producers, since a letter may be that large."""


async def carry_out(kafka: KafkaSettings, topics: Topics, steps: Sequence[Step]) -> None:
    """Send the records of a plan. Each is confirmed before its letters are marked.

    If the process dies in between, a repeated redrive sends the record again. A request for a run then has the same id, so it is
    recognised as a repeat. Any other record may become a second dead letter.
    """
    reader = DeadLetterReader(kafka, topics)
    async with AIOKafkaProducer(**client_options(kafka), acks="all", max_request_size=MAX_REQUEST_BYTES) as producer:
        for step in steps:
            await producer.send_and_wait(step.topic, step.value, key=step.key, headers=list(step.headers.items()))
            await reader.acknowledge(list(step.letters), REDRIVEN, step.action)
