"""Pauses between retries: exponential up to a limit, with jitter, so that calls that fail together do not retry together."""

import random
from dataclasses import dataclass, field

JITTER = (1.0, 1.3)


def with_jitter(pause_seconds: float) -> float:
    """Return a slightly longer pause, never a shorter one."""
    return pause_seconds * random.uniform(*JITTER)  # noqa: S311 - not a secret


@dataclass(slots=True)
class Backoff:
    """The pauses of one sequence of failures. Start a new one after a success."""

    first_seconds: float
    max_seconds: float
    _next_seconds: float = field(init=False)

    def __post_init__(self) -> None:
        self._next_seconds = min(self.first_seconds, self.max_seconds)

    def next_pause(self) -> float:
        """Return the pause before the next try, in seconds."""
        pause = self._next_seconds
        self._next_seconds = min(2 * pause, self.max_seconds)
        return with_jitter(pause)
