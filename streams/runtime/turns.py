"""Runs steps of the same name one at a time, in the order in which they took turns. Steps of different names run concurrently."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from streams.runtime.assignment import Assignment


class Turns:
    def __init__(self) -> None:
        self._last: dict[Hashable, asyncio.Future[None]] = {}

    def take(self, name: Hashable, assignment: Assignment) -> AbstractAsyncContextManager[None]:
        """Take the next turn now. Entering the returned context manager waits for the turn. The caller must enter it.

        Raises:
            AssignmentRevoked: raised on entering if the assignment ended first.
        """
        before, own = self._last.get(name), asyncio.get_running_loop().create_future()
        self._last[name] = own
        return self._turn(name, before, own, assignment)

    @asynccontextmanager
    async def _turn(
        self, name: Hashable, before: "asyncio.Future[None] | None", own: "asyncio.Future[None]", assignment: Assignment
    ) -> AsyncIterator[None]:
        try:
            if before is not None:
                await assignment.until_revoked(asyncio.shield(before))
            yield
        finally:
            own.set_result(None)
            if self._last.get(name) is own:
                del self._last[name]
