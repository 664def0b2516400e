"""Steps that a process takes once, however many records ask for them."""

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
    """Remembers the latest ``limit`` steps, by their names; one that is forgotten is taken again.

    Only for steps whose effect outlasts the process: whoever has not seen them taken takes them again as well.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._steps: OrderedDict[Hashable, _Step] = OrderedDict()

    async def run(self, name: Hashable, assignment: Assignment, step: Callable[[], Awaitable[None]]) -> None:
        """Return when the step has been taken, by whomever of those who ask. One that raises is left to the next who asks.

        Raises:
            AssignmentRevoked: the assignment ended while somebody else was at it. What the step raises is raised too.
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
