"""The time between two rebalances, in which the assigned partitions belong to this process."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


class AssignmentRevoked(Exception):
    """A rebalance or a stop has begun: what waits must let go, the record comes again to whoever has its partition then."""


class Assignment:
    """The time between two rebalances, in which the assigned partitions are ours."""

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self._revoked = False
        self._revocation = asyncio.Event()

    @property
    def revoked(self) -> bool:
        return self._revoked

    def revoke(self, loop: asyncio.AbstractEventLoop) -> None:
        """Called from the consumer's own thread, too."""
        self._revoked = True
        loop.call_soon_threadsafe(self._revocation.set)

    async def wait_revoked(self) -> None:
        await self._revocation.wait()

    async def until_revoked(self, awaitable: Awaitable[T]) -> T:
        """Await something that may wait for long, but no longer than this assignment.

        Raises:
            AssignmentRevoked: it was not done when the assignment ended; it has been cancelled.
        """
        task = asyncio.ensure_future(awaitable)
        revocation = asyncio.ensure_future(self._revocation.wait())
        try:
            await asyncio.wait({task, revocation}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise AssignmentRevoked
        finally:
            revocation.cancel()
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    def check(self) -> None:
        """Raises: AssignmentRevoked."""
        if self._revoked:
            raise AssignmentRevoked
