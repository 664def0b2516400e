"""The runs of the assigned partitions: a Faust table whose changelog is confirmed before a record is acknowledged.

Two kinds of keys: ``run_id`` holds the state (small, JSON), ``run_id/attempt/span`` one span's result (20 KB of float32
behind a header). One value that grew with its run would be written whole again for every span.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any, cast

import faust
import orjson
from aiokafka.errors import KafkaError
from faust.types import EventT, FutureMessage

from core.logging import get_logger
from streams.app import ExtentsApp
from streams.run_log import RunState
from streams.topics import RUNS_TABLE, Topics

log = get_logger(__name__)


class ConfirmedTable(faust.Table[bytes, bytes]):
    """A table that can wait until the brokers have every change made so far.

    Plain Faust sends changes without waiting, so that offsets can be committed before the changes they stand for are stored.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._unconfirmed: dict[bytes, FutureMessage] = {}
        self.outdated: set[bytes] = set()
        """Keys whose last record in the changelog may be an older state than ours: compaction would leave that one alone."""

    def send_changelog(self, partition: int | None, key: Any, value: Any, *args: Any, **options: Any) -> FutureMessage:
        # A partition keeps its order, so a key's last change confirms those before it.
        self._unconfirmed[key] = future = super().send_changelog(partition, key, value, *args, **options)
        return future

    def apply_changelog_batch(self, batch: Iterable[EventT[bytes]]) -> None:
        """As Faust's, but a state never goes back to an older one of its run.

        A process that is superseded may send a change when it wakes, after all that its successor has written.
        """
        for event in batch:
            key, value = cast(bytes, event.key), cast(bytes | None, event.value)
            if b"/" in key or not _is_older(value, self.data.get(key)):
                super().apply_changelog_batch([event])
                self.outdated.discard(key)
            else:
                self.outdated.add(key)

    def write_again(self, partition_of: Callable[[bytes], int]) -> None:
        """Put what is current behind what is outdated."""
        for key in self.outdated & self.data.keys():
            self.send_changelog(partition_of(key), key, self.data[key], value_serializer="raw")
        self.outdated.clear()

    def forget(self, lost: Callable[[bytes], bool]) -> None:
        """Drop the keys of partitions that are another's now, without a word to their changelog.

        They are removed from the store itself, for the table would write tombstones over what the new owner writes; and
        what failed of them is not sent again.
        """
        for keys in (cast(dict[bytes, Any], cast(Any, self.data).data), self._unconfirmed):
            for key in list(filter(lost, keys)):
                del keys[key]

    async def confirmed(self) -> None:
        """Wait until the changes made so far are with the brokers."""
        for key, future in list(self._unconfirmed.items()):
            await self._confirm(key, future)

    async def _confirm(self, key: bytes, future: FutureMessage) -> None:
        """Wait for one change, or a later one of its key; what failed is sent again, as often as it takes."""
        while True:
            try:
                await asyncio.shield(future)
            except KafkaError as error:
                log.warning("changelog.retried", error=repr(error))
                await asyncio.sleep(1.0)
                latest = self._unconfirmed.get(key)
                if latest is None:
                    return
                if latest is future:
                    value = self.data.get(key)
                    latest = self.send_changelog(future.message.partition, key, value, value_serializer="raw")
                future = latest
            else:
                if self._unconfirmed.get(key) is future:
                    del self._unconfirmed[key]
                return


class Runs:
    """Typed access to the table.

    Written only by the agent that handles the log, while a record of the run's partition is at hand. ``active`` holds the
    state of every run of the assigned partitions that is more than a marker.
    """

    def __init__(self, app: ExtentsApp, topics: Topics) -> None:
        self._app, self._topics = app, topics
        self._table = cast(
            ConfirmedTable,
            app.Table(
                RUNS_TABLE, key_type=bytes, value_type=bytes, partitions=topics.settings.results_partitions, on_recover=self._after_recovery
            ),
        )
        self.active: dict[str, RunState] = {}
        self.on_recovered: Callable[[], None] = lambda: None

    def get(self, run_id: str) -> RunState | None:
        if run_id in self.active:
            return self.active[run_id]
        stored = self._table.get(run_id.encode())
        return None if stored is None else RunState.model_validate_json(stored)

    def put(self, state: RunState) -> None:
        self._table[state.run_id.encode()] = state.to_bytes()
        if state.is_marker:
            self.active.pop(state.run_id, None)
        else:
            self.active[state.run_id] = state

    def remove(self, run_id: str) -> None:
        self._table.pop(run_id.encode(), None)
        self.active.pop(run_id, None)

    def put_span(self, run_id: str, attempt: int, span: int, result: bytes) -> None:
        self._table[_span_key(run_id, attempt, span)] = result

    def get_span(self, run_id: str, attempt: int, span: int) -> bytes:
        result: bytes = self._table[_span_key(run_id, attempt, span)]
        return result

    def has_span(self, run_id: str, attempt: int, span: int) -> bool:
        return _span_key(run_id, attempt, span) in self._table

    def remove_span(self, run_id: str, attempt: int, span: int) -> None:
        self._table.pop(_span_key(run_id, attempt, span), None)

    def markers(self, partition: int) -> list[RunState]:
        """Finished runs of a partition that are still remembered."""
        keys = [key for key in self._table.data if b"/" not in key and key.decode() not in self.active]
        states = (self.get(key.decode()) for key in keys if self._topics.results_partition(key.decode()) == partition)
        return [state for state in states if state is not None]

    def oldest_seconds(self) -> float:
        """Age of the oldest run that is not announced yet."""
        starts = [state.started_at_ms for state in self.active.values() if state.started_at_ms is not None]
        return max(0.0, time.time() - min(starts) / 1000) if starts else 0.0

    async def confirmed(self) -> None:
        await self._table.confirmed()

    async def _after_recovery(self) -> None:
        """Forget runs of partitions that are ours no longer, and find those that are.

        The memory store keeps what this process wrote for partitions it has since lost.
        """
        try:
            self._take_stock()
        except Exception as error:  # Faust drops what is raised here, and would go on with runs that nobody finishes
            log.exception("runs.unreadable")
            await self._app.crash(error)

    def _take_stock(self) -> None:
        assigned = {tp.partition for tp in self._app.consumer.assignment() if tp.topic == self._topics.results}
        store = self._table.data
        self._table.forget(lambda key: self._partition_of(key) not in assigned)
        self._table.write_again(self._partition_of)
        self.active = {}
        for key, value in store.items():
            if b"/" not in key:
                state = RunState.model_validate_json(value)
                if not state.is_marker:
                    self.active[state.run_id] = state
        log.info("runs.recovered", active=len(self.active), keys=len(store), partitions=sorted(assigned))
        self.on_recovered()

    def _partition_of(self, key: bytes) -> int:
        return self._topics.results_partition(key.decode().partition("/")[0])


def _span_key(run_id: str, attempt: int, span: int) -> bytes:
    """With the attempt, so that nobody who is late with removing one attempt's results removes those of the next."""
    return f"{run_id}/{attempt}/{span}".encode()


def _is_older(state: bytes | None, stored: bytes | None) -> bool:
    """Whether a state is folded to an earlier record than the one that is stored."""
    if state is None or stored is None:
        return False
    return bool(orjson.loads(state)["offset"] < orjson.loads(stored)["offset"])
