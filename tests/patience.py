"""Time limits of tests' waits, which a busy machine stretches: what is waited for takes longer there, and is no less right."""

import os
import time


class Deadline:
    """Passes after some seconds of a machine that has a core for every process that wants one; later on a busy one."""

    def __init__(self, seconds: float) -> None:
        self._left = seconds
        self._checked_at = time.monotonic()

    @property
    def passed(self) -> bool:
        now = time.monotonic()
        load_per_core = os.getloadavg()[0] / (os.cpu_count() or 1)
        self._left -= (now - self._checked_at) / max(1.0, load_per_core)
        self._checked_at = now
        return self._left < 0
