"""Trying again what may pass."""

import asyncio
import itertools
import time

import pytest

from core.errors import MissingObjectError, TransientError
from streams import patience
from streams.app import Tenure, TenureEnded
from streams.patience import Dependency
from tests.streams.waiting import until


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(patience, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(patience, "MAX_PAUSE_SECONDS", 0.08)


class Flaky:
    """Something outside: away as often as told, then answering."""

    def __init__(self, failures: float, answer: object = "answer") -> None:
        self.failures, self.answer = failures, answer
        self.calls: list[float] = []
        self.probes = 0

    async def call(self) -> object:
        self.calls.append(time.monotonic())
        if len(self.calls) <= self.failures:
            raise TransientError(f"failure {len(self.calls)}")
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def probe_answers(self) -> None:
        self.probes += 1

    async def probe_fails(self) -> None:
        self.probes += 1
        raise TransientError("away")


@pytest.fixture
def tenure():
    return Tenure(1)


async def test_what_passes_is_tried_until_it_does(tenure):
    """Passing errors are not seen by the caller, however many there are."""
    flaky = Flaky(6)
    dependency = Dependency("test", flaky.probe_answers)
    assert await dependency.call(tenure, flaky.call) == "answer"
    assert len(flaky.calls) == 7
    assert not dependency.away
    assert dependency.waited_for() is None


async def test_pauses_grow_to_a_limit(tenure):
    """No try comes sooner than its pause, and each pause is twice the last until the longest."""
    flaky = Flaky(6)
    await Dependency("test", flaky.probe_answers).call(tenure, flaky.call)
    least = [0.01, 0.02, 0.04, 0.08, 0.08, 0.08]
    pauses = [after - before for before, after in itertools.pairwise(flaky.calls)]
    assert all(pause >= expected * 0.99 for pause, expected in zip(pauses, least, strict=True)), pauses


async def test_what_cannot_pass_is_raised_at_once(tenure):
    """An error about the request itself is the caller's; it is not tried again."""
    flaky = Flaky(0, MissingObjectError("gone"))
    with pytest.raises(MissingObjectError, match="gone"):
        await Dependency("test", flaky.probe_answers).call(tenure, flaky.call)
    assert len(flaky.calls) == 1


async def test_an_answer_that_is_an_error_shows_that_it_is_back(tenure):
    """A dependency that was away and now says that there is no such thing is not away any more."""
    flaky = Flaky(2, MissingObjectError("gone"))
    dependency = Dependency("test", flaky.probe_answers)
    with pytest.raises(MissingObjectError):
        await dependency.call(tenure, flaky.call)
    assert not dependency.away


async def test_after_its_limit_an_error_is_the_records_own(tenure):
    """While the dependency answers others, a call that keeps failing is given up: the error is about its record."""
    flaky = Flaky(float("inf"))
    dependency = Dependency("test", flaky.probe_answers)
    with pytest.raises(TransientError, match="failure"):
        await dependency.call(tenure, flaky.call, limit_seconds=0.05)
    assert flaky.probes == 1
    assert not dependency.away


async def test_while_the_dependency_is_away_no_limit_counts(tenure):
    """A call is not given up for an outage: it goes on until the dependency answers."""
    flaky = Flaky(8)
    assert await Dependency("test", flaky.probe_fails).call(tenure, flaky.call, limit_seconds=0.0) == "answer"
    assert flaky.probes == 8


async def test_waiting_ends_with_the_tenure(tenure):
    """A rebalance ends a call that is failing, at once and not at its next try."""
    flaky = Flaky(float("inf"))
    dependency = Dependency("test", flaky.probe_fails)
    calling = asyncio.create_task(dependency.call(tenure, flaky.call))
    await until(lambda: dependency.away)
    assert "away" in (dependency.waited_for() or "")
    tenure.end(asyncio.get_running_loop())
    with pytest.raises(TenureEnded):
        await calling


async def test_a_call_that_hangs_ends_with_the_tenure(tenure):
    """What a call was doing is cancelled when its tenure ends."""
    cancelled = asyncio.Event()

    async def hangs() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    calling = asyncio.create_task(Dependency("test", hangs).call(tenure, hangs))
    await asyncio.sleep(0.01)
    tenure.end(asyncio.get_running_loop())
    with pytest.raises(TenureEnded):
        await calling
    assert cancelled.is_set()


async def test_others_wait_for_the_next_try(tenure, monkeypatch):
    """While a call fails, a new call of the same dependency does not go out before the pause is over."""
    monkeypatch.setattr(patience, "FIRST_PAUSE_SECONDS", 0.2)
    failing, other = Flaky(1), Flaky(0)
    dependency = Dependency("test", failing.probe_answers)
    first = asyncio.create_task(dependency.call(tenure, failing.call))
    await until(lambda: dependency.away)
    await dependency.call(tenure, other.call)
    await first
    assert other.calls[0] - failing.calls[0] >= 0.2
