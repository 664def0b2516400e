"""Counts the packets of a film that cannot be decoded, and reports them in one sentence at the end."""

from dataclasses import dataclass, field
from typing import Final

from core.film_time import clock

_TIMES_SHOWN: Final = 5
LEAST_MISSING_SECONDS: Final = 1.0
"""A container's duration may exceed the last picture's end by the sound's last packet, and by rounding."""


@dataclass(slots=True)
class Damage:
    """The faults of one film so far.

    Attributes:
        decoded, failed: packets.
        seconds: when the first failed packets would have been shown.
        why: FFmpeg's message about the first of them.
        broke_off: FFmpeg's message if the container could not be read further.
    """

    decoded: int = 0
    failed: int = 0
    seconds: list[float] = field(default_factory=list)
    why: str = ""
    broke_off: str = ""

    def add(self, seconds: float, why: str) -> None:
        self.failed += 1
        self.why = self.why or why
        if len(self.seconds) < _TIMES_SHOWN:
            self.seconds.append(seconds)

    @property
    def is_most(self) -> bool:
        return self.failed > self.decoded

    def skipped(self) -> str:
        """``3 packets, near 0:00:07.2 and 0:01:02.0, cannot be decoded and were skipped``: decoders may report one a few packets late."""
        times = list(dict.fromkeys(map(clock, self.seconds)))
        if self.failed > len(self.seconds):
            times.append("later")
        listed = " and ".join([", ".join(times[:-1]), times[-1]]) if len(times) > 1 else times[0]
        if self.failed == 1:
            return f"a packet near {listed} cannot be decoded and was skipped"
        return f"{self.failed} packets, near {listed}, cannot be decoded and were skipped"
