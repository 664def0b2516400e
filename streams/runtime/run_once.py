"""Runs a step once in this process, however many records request it."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field

from streams.runtime.assignment import Assignment


@dataclass(slots=True)
class _Step:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    done: bool = False


class RunOnce:
    """Remembers the latest ``limit`` steps by name. A forgotten step runs again.

    Only for steps that may be repeated: another process, or this one after a restart, runs them again.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._steps: OrderedDict[Hashable, _Step] = OrderedDict()

    async def run(self, name: Hashable, assignment: Assignment, step: Callable[[], Awaitable[None]]) -> None:
        """Run the step unless it has run already. Concurrent callers wait for the one that runs it; if that fails, the next one tries.

        Raises:
            AssignmentRevoked: the assignment was revoked while another caller ran the step. Errors of the step propagate.
        """
        entry = self._steps.setdefault(name, _Step())
        self._steps.move_to_end(name)
        while len(self._steps) > self._limit:
            self._steps.popitem(last=False)
        await assignment.until_revoked(entry.lock.acquire())
        try:
            if not entry.done:
                await step()
                entry.done = True
        finally:
            entry.lock.release()
