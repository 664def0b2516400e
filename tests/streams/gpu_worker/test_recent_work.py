"""A GPU worker's figures for the last minute: pairs a second, and how busy the device was."""

import pytest

from streams.gpu_worker.recent_work import WINDOW_SECONDS, RecentWork


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def work(clock: Clock) -> RecentWork:
    return RecentWork(clock)


def compute(work: RecentWork, clock: Clock, seconds: float, pairs: int, error: Exception | None = None) -> None:
    with work.computing(pairs):
        clock.now += seconds
        if error is not None:
            raise error


def test_nothing_was_done(work, clock):
    """Both figures are zero if nothing was done, even right after the start."""
    assert work.figures() == (0.0, 0.0)
    clock.now = 100.0
    assert work.figures() == (0.0, 0.0)


def test_a_young_worker_is_measured_from_its_start(work, clock):
    """A device that computed half of the time is half busy."""
    compute(work, clock, 5.0, 500)
    clock.now += 5.0
    assert work.figures() == pytest.approx((50.0, 0.5))


def test_only_the_last_minute_counts(work, clock):
    """Of a computation that began before the window, only the part within counts; earlier ones are forgotten."""
    compute(work, clock, 10.0, 1000)
    clock.now = 65.0
    assert work.figures() == pytest.approx((500 / WINDOW_SECONDS, 5 / WINDOW_SECONDS))
    clock.now = 200.0
    assert work.figures() == (0.0, 0.0)
    compute(work, clock, 1.0, 60)
    assert work.figures() == pytest.approx((1.0, 1 / WINDOW_SECONDS))


def test_what_runs_is_busy_and_has_no_pairs_yet(work, clock):
    """A span that takes longer than a minute makes the device fully busy."""
    with work.computing(511):
        clock.now += 90.0
        assert work.figures() == (0.0, 1.0)


def test_a_computation_that_fails_was_busy_for_nothing(work, clock):
    """The time of a failed computation counts, its pairs do not."""
    with pytest.raises(ValueError, match="out of memory"):
        compute(work, clock, 6.0, 511, ValueError("out of memory"))
    clock.now = 60.0
    assert work.figures() == pytest.approx((0.0, 0.1))
