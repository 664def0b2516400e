"""How fast the GPU workers are, from the results that this coordinator reads."""

from core.frames import FRAMES_PER_SPAN, plan_span
from streams.records import SpanDone

WEIGHT = 0.05
"""Weight of a new span in the mean: about the last 20 spans count, so that one slow span does not double the backlog."""


class GpuSpeed:
    """Moving means of the pairs and the GPU seconds of a span. Until the first result, they come from the settings."""

    def __init__(self, expected_pairs_per_second: float) -> None:
        self._pairs, self._seconds = float(FRAMES_PER_SPAN), FRAMES_PER_SPAN / expected_pairs_per_second
        self._measured = False

    def note(self, record: SpanDone) -> None:
        pairs = plan_span(record.span, record.frame_count).pair_count
        weight = WEIGHT if self._measured else 1.0
        self._pairs += weight * (pairs - self._pairs)
        self._seconds += weight * (max(record.gpu_seconds, 1e-6) - self._seconds)
        self._measured = True

    @property
    def pairs_per_second(self) -> float:
        return self._pairs / self._seconds

    def seconds_for(self, spans: int) -> float:
        """Time that one GPU needs for this many spans, at the mean of the latest ones."""
        return spans * self._seconds
