"""``python -m benchmarks.markers``: what a rebalance costs the coordinator's event loop if its log holds many finished runs.

The table is filled as a recovery fills it, poll by poll. Then half of the partitions are lost, and the runs in flight are read.
"""

import asyncio
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace
from uuid import UUID

from aiokafka import ConsumerRecord

from core.logging import configure_logging
from core.settings import KafkaSettings, ProcessSettings, TopicSettings
from core.types import Outcome
from streams.coordinator.run_table import Runs, kind_of
from streams.policy.run_state import RunState
from streams.processing.app import make_app
from streams.processing.changelog import fold_changes
from streams.processing.consumer import RECOVERED_RECORDS
from streams.topics import COORDINATOR, Topics

MARKERS = 1_000_000
IN_FLIGHT = 500


def polls(markers: int, topics: Topics) -> Iterator[list[ConsumerRecord]]:
    """Yield the changelog of this many finished runs and some in flight, spread over the partitions, poll by poll."""
    partitions = topics.settings.results_partitions
    for partition in range(partitions):
        numbers = range(partition, markers + IN_FLIGHT, partitions)
        for first in range(0, len(numbers), RECOVERED_RECORDS):
            yield [_record(number, markers, partition) for number in numbers[first : first + RECOVERED_RECORDS]]


def _record(number: int, markers: int, partition: int) -> ConsumerRecord:
    run_id = str(UUID(int=number * 2**64 + 1))
    done = {"outcome": Outcome.COMPLETED, "finished_at_ms": 1_767_323_045_000} if number < markers else {}
    value = RunState(run_id=run_id, attempt=1, offset=number, **done).to_bytes()
    return ConsumerRecord("", partition, number, 0, 0, run_id.encode(), value, None, 36, len(value), ())


def recover(runs: Runs, markers: int, topics: Topics) -> list[float]:
    """Fill the table. Returns how long each poll held the event loop; the rest is done in the consumer's thread."""
    steps = []
    for records in polls(markers, topics):
        changes = fold_changes(records, kind_of)
        began = time.thread_time()
        runs._table.absorb(changes)
        steps.append(time.thread_time() - began)
    return steps


async def lose_half(runs: Runs, topics: Topics) -> list[float]:
    """Take half of the partitions away. Returns how long each step held the event loop."""
    kept = range(topics.settings.results_partitions // 2)
    runs._app = SimpleNamespace(
        consumer=SimpleNamespace(assignment=lambda: [SimpleNamespace(topic=topics.results, partition=p) for p in kept])
    )
    rebuilding = asyncio.create_task(runs._rebuild_active())
    steps = []
    while not rebuilding.done():
        began = time.thread_time()
        await asyncio.sleep(0)  # one turn of the event loop runs one step of the rebuilding
        steps.append(time.thread_time() - began)
    rebuilding.result()
    return steps


def main(markers: int = MARKERS) -> None:
    configure_logging(ProcessSettings())
    topics = Topics(TopicSettings())

    def empty() -> Runs:
        return Runs(make_app(COORDINATOR, KafkaSettings(bootstrap_servers="nobody:1"), topics, partitions=4), topics)

    first, runs = empty(), empty()
    recover(first, 0, topics)
    asyncio.run(lose_half(first, topics))  # warms up what a process does only once
    print(f"{markers} markers, {IN_FLIGHT} runs in flight; seconds of the event loop:")
    for what, steps in (
        ("all partitions gained", recover(runs, markers, topics)),
        ("half of them lost", asyncio.run(lose_half(runs, topics))),
    ):
        print(f"  {what}: {sum(steps):.3f} in all, {max(steps):.3f} at a time")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
