"""The runs of the assigned partitions: a Faust table whose changelog is confirmed before a record is acknowledged.

There are two kinds of keys. ``run_id`` holds the state (small JSON), and ``run_id/attempt/span`` holds one span's result (20 KB
of float32 after a header). A single value for the whole run would be rewritten for every span.
"""

import time
from collections.abc import Callable
from typing import cast

from core.logging import get_logger
from streams.policy.run_log import RunState
from streams.processing.app import ExtentsApp
from streams.processing.confirmed_table import ConfirmedTable
from streams.topics import RUNS_TABLE, Topics

log = get_logger(__name__)


class Runs:
    """Typed access to the table.

    Only the agent that handles the log writes to it, while it handles a record of the run's partition. ``active`` holds the
    state of every run of the assigned partitions that is not a marker.
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
        """Markers of a partition: finished runs that are still remembered."""
        keys = [key for key in self._table.data if b"/" not in key and key.decode() not in self.active]
        states = (self.get(key.decode()) for key in keys if self._topics.results_partition(key.decode()) == partition)
        return [state for state in states if state is not None]

    def oldest_seconds(self) -> float:
        """Age of the oldest run whose outcome has not been announced."""
        starts = [state.started_at_ms for state in self.active.values() if state.started_at_ms is not None]
        return max(0.0, time.time() - min(starts) / 1000) if starts else 0.0

    async def confirmed(self) -> None:
        await self._table.confirmed()

    async def _after_recovery(self) -> None:
        """Drop the runs of lost partitions and load those of the assigned ones.

        The memory store keeps what this process wrote for partitions that it has since lost.
        """
        try:
            self._rebuild_active()
        except Exception as error:  # Faust swallows exceptions here and would continue with runs that are never finished
            log.exception("runs.unreadable")
            await self._app.crash(error)

    def _rebuild_active(self) -> None:
        assigned = {tp.partition for tp in self._app.consumer.assignment() if tp.topic == self._topics.results}
        store = self._table.data
        self._table.forget(lambda key: self._partition_of(key) not in assigned)
        self._table.rewrite_outdated(self._partition_of)
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
    """The key includes the attempt, so that late removal of one attempt's results cannot remove those of the next."""
    return f"{run_id}/{attempt}/{span}".encode()
