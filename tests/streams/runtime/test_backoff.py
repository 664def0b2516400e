"""Pauses between retries."""

from streams.runtime.backoff import JITTER, Backoff, pause_after, with_jitter


def test_pauses_double_up_to_the_limit():
    """Each pause is twice as long as the one before until the limit, and jitter only extends it."""
    backoff = Backoff(0.1, 0.5)
    for expected in (0.1, 0.2, 0.4, 0.5, 0.5):
        assert expected <= backoff.next_pause() <= expected * JITTER[1]


def test_a_first_pause_above_the_limit_is_cut():
    """The limit also applies to the first pause."""
    assert Backoff(2.0, 1.0).next_pause() <= JITTER[1]


def test_many_failures_keep_the_limit():
    """A count of failures of any size gives a pause, not an overflow."""
    assert 30.0 <= pause_after(10**9, 1.0, 30.0) <= 30.0 * JITTER[1]


def test_jitter_spreads_pauses():
    """Calls that fail together do not all wait equally long."""
    assert len({with_jitter(1.0) for _ in range(20)}) > 1
