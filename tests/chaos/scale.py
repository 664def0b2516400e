"""How hard a scenario is run, and its random choices."""

import random
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Scale:
    """Full, as ``make chaos`` runs a scenario, or short, as an ordinary test does."""

    seed: int
    full: bool

    def of(self, *, full: T, short: T) -> T:
        return full if self.full else short


@dataclass(frozen=True, slots=True)
class Chaos(Scale):
    """The scale of one scenario; ``rng`` makes all of its random choices."""

    rng: random.Random
