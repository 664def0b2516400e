"""``python -m benchmarks.markers``: how long a rebalance blocks the coordinator's event loop if its log holds many finished runs.

The table is filled as a recovery fills it. Then half of the partitions are lost, and what is left is taken stock of.
"""

import asyncio
import sys
import time
from types import SimpleNamespace
from uuid import UUID

from core.settings import KafkaSettings, TopicSettings
from core.types import Outcome
from streams.coordinator.run_table import Runs
from streams.policy.run_log import RunState
from streams.processing.app import make_app
from streams.topics import COORDINATOR, Topics

MARKERS = 1_000_000
IN_FLIGHT = 500


def filled(markers: int, topics: Topics) -> Runs:
    """A table of so many markers, and some runs in flight, spread over the partitions."""
    kafka = KafkaSettings(bootstrap_servers="nobody:1")
    runs = Runs(make_app(COORDINATOR, kafka, topics, partitions=4), topics)
    partitions = topics.settings.results_partitions
    for number in range(markers + IN_FLIGHT):
        run_id = str(UUID(int=number * 2**64 + 1))
        done = {"outcome": Outcome.COMPLETED, "finished_at_ms": 1_767_323_045_000} if number < markers else {}
        value = RunState(run_id=run_id, attempt=1, offset=number, **done).to_bytes()
        message = SimpleNamespace(partition=number % partitions, value=value)
        runs._table.apply_changelog_batch([SimpleNamespace(key=run_id.encode(), value=value, message=message)])
    return runs


async def blocked_seconds(markers: int) -> tuple[float, float]:
    """How long the loop stands still, at most at a time and in all, in a rebalance that takes half of the partitions away."""
    topics = Topics(TopicSettings())
    runs = filled(markers, topics)
    kept = range(topics.settings.results_partitions // 2)
    runs._app = SimpleNamespace(
        consumer=SimpleNamespace(assignment=lambda: [SimpleNamespace(topic=topics.results, partition=p) for p in kept])
    )
    stocktaking = asyncio.create_task(runs._take_stock())
    longest = total = 0.0
    while not stocktaking.done():
        began = time.thread_time()
        await asyncio.sleep(0)  # one turn of the loop, which is one step of the stocktaking
        step = time.thread_time() - began
        longest, total = max(longest, step), total + step
    stocktaking.result()
    return longest, total


def main(markers: int = MARKERS) -> None:
    longest, total = asyncio.run(blocked_seconds(markers))
    print(f"{markers} markers, {IN_FLIGHT} runs in flight: {total:.3f} s of the loop's time, {longest:.3f} s at a time")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
