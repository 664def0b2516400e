"""Updates ``pairs_done`` of running jobs: best effort, at most one write for each run and interval.

Updates during a database outage are skipped. A finished run is written with all of its pairs anyway.
"""

import asyncio
from uuid import UUID

from core.errors import ExtentsError
from core.logging import get_logger
from core.moments import parse_moment
from storage.rows import Rows
from streams.policy.run_state import RunState
from streams.runtime.circuit_breaker import CircuitBreaker

log = get_logger(__name__)


class Progress:
    def __init__(self, rows: Rows, database_breaker: CircuitBreaker, interval_seconds: float) -> None:
        self._rows, self._breaker, self._interval_seconds = rows, database_breaker, interval_seconds
        self._latest: dict[str, RunState] = {}
        self._pending = asyncio.Event()

    def note(self, state: RunState) -> None:
        """Remember the latest state of a run, to be written next. Finished runs are left to the finisher."""
        if state.started is None or state.started_working_at is None or state.outcome is not None:
            self._latest.pop(state.run_id, None)
        else:
            self._latest[state.run_id] = state
            self._pending.set()

    async def run(self) -> None:
        """Write the latest states, then sleep for the interval. Runs until cancelled."""
        while True:
            await self._pending.wait()
            self._pending.clear()
            states, self._latest = self._latest, {}
            for state in states.values():
                if not self._breaker.is_open:
                    await self._write(state)
            await asyncio.sleep(self._interval_seconds)

    async def _write(self, state: RunState) -> None:
        started_at = parse_moment(state.started_working_at or "")
        try:
            await self._rows.record_progress(UUID(state.run_id), state.attempt, state.pairs_done, started_at)
        except ExtentsError as error:
            log.info("progress.skipped", **state.log_fields, error=str(error))
