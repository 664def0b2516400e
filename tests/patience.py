"""Time limits for waits in tests, which are longer on a busy machine: it is slower, not wrong."""

import os
import time
from typing import Final

HANGS_AFTER: Final = 900.0
"""Seconds after which a program that a test runs has certainly hung, however busy the machine is."""


class Deadline:
    """Passes after some seconds on a machine with a free core for every process, and later on a busy one."""

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
