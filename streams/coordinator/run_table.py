"""The runs of the assigned partitions: a Faust table whose changelog is confirmed before a record is acknowledged.

There are two kinds of keys. ``run_id`` holds the state (small JSON), and ``run_id/attempt/span`` holds one span's result (20 KB
of float32 after a header). A single value for the whole run would be rewritten for every span.
"""

import time
from collections.abc import Callable
from typing import Final, cast

from pydantic import ValidationError

from core.identity import parse_uuid
from core.logging import get_logger
from streams.policy.run_state import RunState
from streams.processing.app import ExtentsApp
from streams.processing.confirmed_table import ConfirmedTable
from streams.records import describe
from streams.topics import RUNS_TABLE, Topics

log = get_logger(__name__)

SPAN: Final = "span"
IN_FLIGHT: Final = "in flight"
MARKER: Final = "marker"


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
        self._table.kind_of = kind_of
        self.active: dict[str, RunState] = {}
        self.on_recovered: Callable[[], None] = lambda: None

    def get(self, run_id: str) -> RunState | None:
        if run_id in self.active:
            return self.active[run_id]
        stored = self._table.get(run_id.encode())
        if stored is None:
            return None
        try:
            return RunState.model_validate_json(stored)
        except ValidationError as error:  # only a marker's: runs in flight were read when their partition was assigned
            log.error("run.marker_unreadable", run_id=run_id, error=describe(error))
            return None

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

    def markers(self, partition: int) -> list[bytes]:
        """Keys of the markers of a partition, in the order in which their runs finished."""
        return self._table.held.keys_of(MARKER, partition)

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
            await self._rebuild_active()
        except Exception as error:  # Faust swallows exceptions here and would continue with runs that are never finished
            log.exception("runs.unreadable")
            await self._app.crash(error)

    async def _rebuild_active(self) -> None:
        assigned = {tp.partition for tp in self._app.consumer.assignment() if tp.topic == self._topics.results}
        await self._table.forget_all_but(assigned)
        self._table.rewrite_outdated(self._partition_of)
        states = (self._read(key) for key in self._table.held.keys_of(IN_FLIGHT))
        self.active = {state.run_id: state for state in states if state is not None and not state.is_marker}
        log.info("runs.recovered", active=len(self.active), keys=len(self._table.held), partitions=sorted(assigned))
        self.on_recovered()

    def _read(self, key: bytes) -> RunState | None:
        """Parse a stored state; None if the key is not a run's. An unreadable state is set aside and its run fails; others continue."""
        value = self._table.held[key]
        try:
            return RunState.model_validate_json(value)
        except ValidationError as error:
            run_id = key.decode(errors="replace")
            reason = f"its state in {self._topics.runs_changelog} cannot be read: {describe(error)}"
            state = RunState.salvaged(run_id, value, reason)
            place = {"topic": self._topics.results, "partition": self._partition_of(key), "offset": state.offset}
            log.error("run.state_unreadable", key=run_id, **place, error=reason, state=value[:2000].decode(errors="replace"))
            return state if _is_run_id(run_id) else None

    def _partition_of(self, key: bytes) -> int:
        return self._topics.results_partition(key.decode(errors="replace").partition("/")[0])


def kind_of(key: bytes, value: bytes) -> str:
    """Return whether an entry is a span's result, a run in flight, or the marker of a finished run. There may be a million markers."""
    if b"/" in key:
        return SPAN
    return MARKER if RunState.is_marker_text(value) else IN_FLIGHT


def _is_run_id(text: str) -> bool:
    try:
        return bool(parse_uuid(text))
    except ValueError:
        return False


def _span_key(run_id: str, attempt: int, span: int) -> bytes:
    """The key includes the attempt, so that late removal of one attempt's results cannot remove those of the next."""
    return f"{run_id}/{attempt}/{span}".encode()
