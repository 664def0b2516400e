"""One limit on the memory that concurrent tasks hold."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class MemoryBudget:
    """Bytes that tasks may hold at a time, first come, first served. A task that needs more than the total waits for all of it.

    Belongs to one event loop.
    """

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes = self._free_bytes = size_bytes
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def held_bytes(self) -> int:
        return self._size_bytes - self._free_bytes

    @asynccontextmanager
    async def reserve(self, size_bytes: int) -> AsyncIterator[None]:
        """Wait until this many bytes are free, and hold them during this block."""
        needed = min(size_bytes, self._size_bytes)
        await self._take(needed)
        try:
            yield
        finally:
            self._free_bytes += needed
            self._wake()

    async def _take(self, needed: int) -> None:
        if not self._waiting and needed <= self._free_bytes:
            self._free_bytes -= needed
            return
        turn = asyncio.get_running_loop().create_future()
        entry = (needed, turn)
        self._waiting.append(entry)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # its turn had come
                self._free_bytes += needed
            elif entry in self._waiting:
                self._waiting.remove(entry)
            self._wake()
            raise

    def _wake(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._free_bytes:
            needed, turn = self._waiting.popleft()
            if not turn.cancelled():
                self._free_bytes -= needed
                turn.set_result(None)
