"""Sends outcome events and dead letters, confirmed and counted."""

from dataclasses import dataclass

from core.metrics import DEAD_LETTERS, EVENTS
from streams.app import Tenure
from streams.dead_letters import DeadLetter
from streams.outcomes import OutcomeEvent
from streams.producer import Producer
from streams.topics import Topics


@dataclass(frozen=True, slots=True)
class Announcer:
    topics: Topics
    producer: Producer

    async def announce(self, tenure: Tenure, event: OutcomeEvent) -> None:
        await self.producer.send(tenure, self.topics.name(event.name), event.key, event.value, headers=event.headers)
        EVENTS.labels(event.name).inc()

    async def bury(self, tenure: Tenure, letter: DeadLetter) -> None:
        await self.producer.send(tenure, self.topics.dead_letter, letter.key, letter.value, headers=letter.headers)
        topic = letter.headers["origin"].decode().rsplit("/", 2)[0]
        DEAD_LETTERS.labels(topic, letter.headers["reason"].decode()).inc()

    async def log_run(self, tenure: Tenure, run_id: str, value: bytes, grace_seconds: float = 0.0) -> None:
        """Append to the log of a run."""
        partition = self.topics.results_partition(run_id)
        await self.producer.send(tenure, self.topics.results, run_id.encode(), value, partition=partition, grace_seconds=grace_seconds)
