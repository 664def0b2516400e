"""Waiting in tests for what must come."""

import asyncio
import itertools
import time
from collections.abc import Callable


async def until(condition: Callable[[], object], limit_seconds: float = 120.0) -> None:
    """Return once a condition holds.

    Raises:
        AssertionError: it does not within the limit.
    """
    deadline = time.monotonic() + limit_seconds
    for tries in itertools.count():
        if condition():
            return
        assert time.monotonic() < deadline, "it did not come"
        await asyncio.sleep(0 if tries < 100 else 0.01)
