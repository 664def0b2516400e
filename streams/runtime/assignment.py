"""An assignment: the time between two rebalances in which the assigned partitions belong to this process."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


class AssignmentRevoked(Exception):
    """A rebalance or a shutdown has begun. Waiting work must stop; its record is redelivered to the partition's next owner."""


class Assignment:
    """The period in which this process owns its assigned partitions. Ends at the next rebalance or at shutdown."""

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self._revoked = False
        self._revocation = asyncio.Event()

    @property
    def revoked(self) -> bool:
        return self._revoked

    def revoke(self, loop: asyncio.AbstractEventLoop) -> None:
        """End the assignment. May be called from any thread; ``loop`` is the event loop of the tasks that wait for it."""
        self._revoked = True
        loop.call_soon_threadsafe(self._revocation.set)

    async def until_revoked(self, awaitable: Awaitable[T]) -> T:
        """Await something, but no longer than this assignment lasts.

        Raises:
            AssignmentRevoked: the assignment ended first; the awaitable has been cancelled.
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
        """Raises: AssignmentRevoked: the assignment has ended."""
        if self._revoked:
            raise AssignmentRevoked
