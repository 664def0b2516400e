"""Waits for conditions in tests."""

import asyncio
import itertools
from collections.abc import Callable

from tests.patience import Deadline


async def until(condition: Callable[[], object], limit_seconds: float = 120.0) -> None:
    """Return once a condition holds.

    Raises:
        AssertionError: it does not hold within the limit, which a busy machine stretches.
    """
    deadline = Deadline(limit_seconds)
    for attempt in itertools.count():
        if condition():
            return
        assert not deadline.passed, f"the condition does not hold after {limit_seconds:.0f} s"
        await asyncio.sleep(0 if attempt < 100 else 0.01)
