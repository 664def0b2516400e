"""Checks what must hold at every moment while a store or a database fails, not only at the end."""

import hashlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Self

import aiohttp

from storage.run_db_reader import MAX_RUN_DB_BYTES
from tests.chaos.fleet import Fleet
from tests.chaos.history import History
from tests.chaos.load import Load, Submitted
from tests.service.processes import Worker

Meanwhile = Callable[[], Awaitable[object]]

PROBE_FRAMES: Final = 40


@dataclass(slots=True)
class Vigil:
    """Repeatedly checks the workers that have joined, and what has been announced.

    Every worker reports that it is alive, whatever it waits for. When ``inference.completed`` is read, the object that it
    names exists with the right bytes, and so does the row.
    """

    fleet: Fleet
    load: Load
    _history: History = field(init=False)
    _checked_runs: set[str] = field(default_factory=set)
    _http: aiohttp.ClientSession = field(init=False)

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession()
        self._history = History(self.fleet.service.ledger)
        self._checked_runs = {outcome.body["run_id"] for outcome in self.fleet.service.ledger.outcomes if "run_id" in outcome.body}
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._http.close()

    async def go_on(self, seconds: float, meanwhile: Meanwhile) -> None:
        """Check for this long."""
        deadline = time.monotonic() + seconds
        await self.until(f"{seconds} s to pass", lambda: time.monotonic() > deadline, meanwhile)

    async def until(self, awaited: str, condition: Callable[[], bool], meanwhile: Meanwhile | None = None) -> None:
        async def check_all() -> None:
            if meanwhile is not None:
                await meanwhile()
            await self._check_once()

        await self.fleet.until(awaited, condition, check_all)

    async def probe(self) -> Submitted:
        """Publish a video now."""
        (published,) = await self.load.publish([PROBE_FRAMES])
        return published

    async def recovered(self, probe: Submitted) -> float:
        """Wait for the outcome of a video. Return the seconds from now until any run was started or finished."""
        began = time.time()
        await self.until("the outcome of a video after a fault", lambda: probe not in self.load.unanswered())
        self._history.read()
        seconds = self._history.next(began, "run_started", "run_finished")
        assert seconds is not None
        return seconds

    async def stop(self) -> None:
        """Stop all workers with SIGTERM; they end with status 0."""
        for role, workers in self.fleet.workers.items():
            await self.fleet.stop(role, workers)

    async def fetch(self, worker: Worker, path: str) -> tuple[int, str]:
        return await worker.fetch(self._http, path)

    async def _check_once(self) -> None:
        for worker in (worker for workers in self.fleet.workers.values() for worker in workers):
            if worker in self.fleet.joined:
                status, text = await self.fetch(worker, "healthz")
                assert status == 200, f"{worker.name} says that it is not alive: {text}"
        service = self.fleet.service
        for outcome in service.ledger.outcomes:
            body = outcome.body
            if outcome.name == "inference.completed" and body["run_id"] not in self._checked_runs:
                self._checked_runs.add(body["run_id"])
                data = await service.store.get(body["storage_key"], MAX_RUN_DB_BYTES)
                assert hashlib.sha256(data).hexdigest() == body["sha256"], (
                    f"run {body['run_id']} was announced, but its object is a different one"
                )
                row = await service.verifier.run_row(body["run_id"])
                assert row is not None, f"run {body['run_id']} was announced before its row was written"
