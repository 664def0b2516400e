"""Pauses between retries: exponential up to a limit, with jitter, so that calls that fail together do not retry together."""

import random
from dataclasses import dataclass

JITTER = (1.0, 1.3)


def with_jitter(pause_seconds: float) -> float:
    """Return a slightly longer pause, never a shorter one."""
    return pause_seconds * random.uniform(*JITTER)  # noqa: S311 - not a secret


def pause_after(failures: int, first_seconds: float, max_seconds: float) -> float:
    """Return the pause before the next try, in seconds.

    Args:
        failures: number of consecutive failures so far, at least 1.
    """
    doublings = min(failures - 1, 63)  # more would overflow a float, and every limit is far below
    return with_jitter(min(first_seconds * 2.0**doublings, max_seconds))


@dataclass(slots=True)
class Backoff:
    """The pauses of one sequence of failures. Start a new one after a success."""

    first_seconds: float
    max_seconds: float
    failures: int = 0

    def next_pause(self) -> float:
        """Return the pause before the next try, in seconds."""
        self.failures += 1
        return pause_after(self.failures, self.first_seconds, self.max_seconds)
