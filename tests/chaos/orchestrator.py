"""What Kubernetes or Compose does for the service: starts a new worker whenever one has ended."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Self

from tests.service.processes import Worker

_EVERY_SECONDS: Final = 0.1


@dataclass(slots=True)
class Orchestrator:
    """Keeps a number of workers running while it is entered, and then stops them properly.

    Attributes:
        start: starts a worker to replace one that has ended.
        ended: how often a worker has ended by itself, by its status.
    """

    workers: list[Worker]
    start: Callable[[], Worker]
    ended: Counter[int] = field(default_factory=Counter)
    _watching: "asyncio.Task[None]" = field(init=False)

    async def __aenter__(self) -> Self:
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._watching.cancel()
        with suppress(asyncio.CancelledError):
            await self._watching
        if exception[0] is None:
            await asyncio.gather(*(self._stop(worker) for worker in self.workers))

    async def _stop(self, worker: Worker) -> None:
        if worker.status is None:
            worker.terminate()
        status = await worker.ended()
        if status != 0:  # it was ending by itself just then
            self.ended[status] += 1

    async def _watch(self) -> None:
        while True:
            for index, worker in enumerate(self.workers):
                if worker.status is not None:
                    self.ended[worker.status] += 1
                    self.workers[index] = self.start()
            await asyncio.sleep(_EVERY_SECONDS)
