"""The device's work in the last minute, for heartbeats."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

WINDOW_SECONDS: Final = 60.0


@dataclass(slots=True)
class RecentWork:
    """Computations, one after the other. The engine's thread adds them, and any thread may read them."""

    clock: Callable[[], float] = time.monotonic
    _began: float = field(init=False)
    _running_since: float | None = field(init=False, default=None)
    _done: deque[tuple[float, float, int]] = field(init=False, default_factory=deque)
    """Begin, end and pairs of computations that end within the window."""

    def __post_init__(self) -> None:
        self._began = self.clock()

    @contextmanager
    def computing(self, pairs: int) -> Iterator[None]:
        """Add a computation of this many pairs. If it fails, only its time counts."""
        self._running_since = begin = self.clock()
        done = 0
        try:
            yield
            done = pairs
        finally:
            end = self.clock()
            self._done.append((begin, end, done))
            self._running_since = None
            while self._done[0][1] < end - WINDOW_SECONDS:
                self._done.popleft()

    def figures(self) -> tuple[float, float]:
        """Return pairs per second, and the share of time in which the device computed. Only the part within the window counts."""
        now = self.clock()
        since = max(self._began, now - WINDOW_SECONDS)
        busy = pairs = 0.0
        for begin, end, count in list(self._done):
            inside = max(0.0, end - max(begin, since))
            busy += inside
            pairs += count * inside / max(end - begin, 1e-9)
        if (running := self._running_since) is not None:
            busy += now - max(running, since)
        length = max(now - since, 1e-9)
        return pairs / length, min(1.0, busy / length)
