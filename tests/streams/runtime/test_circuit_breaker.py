"""Trying again what may pass."""

import asyncio
import itertools
import time

import pytest

from core.errors import ConfigurationError, MissingObjectError, TransientError
from core.metrics import WAITING
from streams.runtime import circuit_breaker as patience
from streams.runtime.assignment import Assignment, AssignmentRevoked
from streams.runtime.circuit_breaker import CircuitBreaker
from tests.streams.waiting import until


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(patience, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(patience, "MAX_PAUSE_SECONDS", 0.08)


class Flaky:
    """A call that fails as often as told, then answers; and probes of the dependency that it is made to."""

    def __init__(self, failures: float, answer: object = "answer", probes_unanswered: float = 0) -> None:
        self.failures, self.answer, self.probes_unanswered = failures, answer, probes_unanswered
        self.calls: list[float] = []
        self.probes: list[float] = []

    async def call(self) -> object:
        self.calls.append(time.monotonic())
        if len(self.calls) <= self.failures:
            raise TransientError(f"failure {len(self.calls)}")
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def probe(self) -> None:
        self.probes.append(time.monotonic())
        if len(self.probes) <= self.probes_unanswered:
            raise TransientError("away")


@pytest.fixture
def assignment():
    return Assignment(1)


async def test_what_passes_is_tried_until_it_does(assignment):
    """Passing errors are not seen by the caller, however many there are."""
    flaky = Flaky(6)
    dependency = CircuitBreaker("test", flaky.probe)
    assert await dependency.call(assignment, flaky.call) == "answer"
    assert len(flaky.calls) == 7
    assert not dependency.away
    assert dependency.waited_for() is None


async def test_pauses_grow_to_a_limit(assignment):
    """No try comes sooner than its pause, and each pause is twice the last until the longest."""
    flaky = Flaky(6)
    await CircuitBreaker("test", flaky.probe).call(assignment, flaky.call)
    least = [0.01, 0.02, 0.04, 0.08, 0.08, 0.08]
    pauses = [after - before for before, after in itertools.pairwise(flaky.calls)]
    assert all(pause >= expected * 0.99 for pause, expected in zip(pauses, least, strict=True)), pauses


async def test_what_cannot_pass_is_raised_at_once(assignment):
    """An error about the request itself is the caller's; it is not tried again."""
    flaky = Flaky(0, MissingObjectError("gone"))
    with pytest.raises(MissingObjectError, match="gone"):
        await CircuitBreaker("test", flaky.probe).call(assignment, flaky.call)
    assert len(flaky.calls) == 1


async def test_an_answer_that_is_an_error_shows_that_it_is_back(assignment):
    """A dependency that was away and now refuses the probe is not away any more."""
    flaky = Flaky(1)
    answers = iter((TransientError("away"), ConfigurationError("no such bucket")))

    async def probe() -> None:
        raise next(answers)

    dependency = CircuitBreaker("test", probe)
    assert await dependency.call(assignment, flaky.call) == "answer"
    assert not dependency.away


async def test_after_its_limit_an_error_is_the_records_own(assignment):
    """While the dependency answers others, a call that keeps failing is given up: the error is about its record."""
    flaky = Flaky(float("inf"))
    dependency = CircuitBreaker("test", flaky.probe)
    with pytest.raises(TransientError, match="failure"):
        await dependency.call(assignment, flaky.call, limit_seconds=0.05)
    assert flaky.calls[-1] - flaky.calls[0] >= 0.04
    assert not dependency.away


async def test_an_outage_does_not_count_against_the_limit(assignment):
    """A call is not given up for an outage: it goes on when that is over, and then has its whole limit."""
    flaky = Flaky(4, probes_unanswered=8)
    assert await CircuitBreaker("test", flaky.probe).call(assignment, flaky.call, limit_seconds=0.1) == "answer"
    assert flaky.probes[8] - flaky.calls[0] > 0.1
    assert len(flaky.calls) == 5


async def test_an_error_of_ones_own_keeps_nobody_waiting(assignment):
    """While one call fails again and again, with pauses that grow, others of the same dependency go out at once."""
    failing, others = Flaky(8), Flaky(0)
    dependency = CircuitBreaker("test", failing.probe)
    calling = asyncio.create_task(dependency.call(assignment, failing.call))
    longest = 0.0
    while not calling.done():
        began = time.monotonic()
        await dependency.call(assignment, others.call)
        longest = max(longest, time.monotonic() - began)
        await asyncio.sleep(0)
    assert failing.calls[-1] - failing.calls[0] > 0.4
    assert longest < 0.08


async def test_waiting_ends_with_the_tenure(assignment):
    """A rebalance ends a call that is failing, at once and not at its next try."""
    flaky = Flaky(float("inf"), probes_unanswered=float("inf"))
    dependency = CircuitBreaker("test", flaky.probe)
    calling = asyncio.create_task(dependency.call(assignment, flaky.call))
    await until(lambda: dependency.away)
    assert "away" in (dependency.waited_for() or "")
    assignment.revoke(asyncio.get_running_loop())
    with pytest.raises(AssignmentRevoked):
        await calling


async def test_a_call_that_hangs_ends_with_the_tenure(assignment):
    """What a call was doing is cancelled when its assignment ends."""
    cancelled = asyncio.Event()

    async def hangs() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    calling = asyncio.create_task(CircuitBreaker("test", hangs).call(assignment, hangs))
    await asyncio.sleep(0.01)
    assignment.revoke(asyncio.get_running_loop())
    with pytest.raises(AssignmentRevoked):
        await calling
    assert cancelled.is_set()


async def test_while_it_is_away_only_the_probe_goes_out(assignment):
    """However many calls wait for a dependency, it is asked once after each pause, and each pause is twice the last."""
    calls = [Flaky(1) for _ in range(30)]
    asked = Flaky(0, probes_unanswered=6)
    dependency = CircuitBreaker("test", asked.probe)
    calling = [asyncio.create_task(dependency.call(assignment, call.call)) for call in calls]
    await until(lambda: dependency.away)
    calling.append(asyncio.create_task(dependency.call(assignment, Flaky(0).call)))
    assert await asyncio.gather(*calling) == ["answer"] * 31
    assert len(asked.probes) == 7
    assert [len(call.calls) for call in calls] == [2] * 30
    least = [0.01, 0.02, 0.04, 0.08, 0.08, 0.08]
    assert all(after - before >= pause * 0.99 for (before, after), pause in zip(itertools.pairwise(asked.probes), least, strict=True))


async def test_calls_that_fail_together_share_a_probe(assignment):
    """Thirty calls that fail at the same time do not make thirty probes, nor is anybody's failure taken for an outage."""
    calls = [Flaky(1) for _ in range(30)]
    asked = Flaky(0)

    async def probe() -> None:
        await asyncio.sleep(0.01)
        await asked.probe()

    dependency = CircuitBreaker("test", probe)
    await asyncio.gather(*(dependency.call(assignment, call.call) for call in calls))
    assert len(asked.probes) <= 2


async def test_who_waits_longest_asks_on(assignment):
    """When the assignment of the call that asks for all has ended, another that waits asks on."""
    first, second = Flaky(float("inf")), Flaky(1)
    asked = Flaky(0, probes_unanswered=4)
    dependency = CircuitBreaker("test", asked.probe)
    asking = asyncio.create_task(dependency.call(assignment, first.call))
    await until(lambda: dependency.away)
    other = asyncio.create_task(dependency.call(Assignment(2), second.call))
    await asyncio.sleep(0)
    assignment.revoke(asyncio.get_running_loop())
    with pytest.raises(AssignmentRevoked):
        await asking
    assert await other == "answer"


async def test_an_outage_is_told(assignment):
    """While the dependency is away its gauge is 1 and readiness says so; when it is back both end."""
    flaky = Flaky(1, probes_unanswered=2)
    dependency = CircuitBreaker("told", flaky.probe)
    calling = asyncio.create_task(dependency.call(assignment, flaky.call))
    await until(lambda: dependency.away)
    assert WAITING.labels("told")._value.get() == 1
    assert "away" in (dependency.waited_for() or "")
    await calling
    assert WAITING.labels("told")._value.get() == 0
    assert dependency.waited_for() is None


async def test_an_outage_is_noticed_and_timed_though_nobody_calls(monkeypatch):
    """Who watches a dependency sees it go and come back, and how long it was away; a second outage adds to the first."""
    monkeypatch.setattr(patience, "WATCH_SECONDS", 0.01)
    answering = True

    async def probe() -> None:
        if not answering:
            raise TransientError("away")

    dependency = CircuitBreaker("test", probe)
    watching = asyncio.create_task(dependency.watch())
    outages = [dependency.away_seconds]
    for _ in range(2):
        answering = False
        await until(lambda: dependency.away)
        answering = True
        await until(lambda: not dependency.away)
        outages.append(dependency.away_seconds)
        await asyncio.sleep(0.05)
        assert dependency.away_seconds == outages[-1]
    assert 0.0 == outages[0] < outages[1] < outages[2]
    watching.cancel()


async def test_an_outage_that_others_notice_does_not_count(assignment, monkeypatch):
    """A call that failed before it by itself, and after it again, has not failed for all the time between."""
    away = True

    async def probe() -> None:
        if away:
            raise TransientError("away")

    dependency, flaky = CircuitBreaker("test", probe), Flaky(2)
    away = False
    monkeypatch.setattr(patience, "FIRST_PAUSE_SECONDS", 0.05)
    calling = asyncio.create_task(dependency.call(assignment, flaky.call, limit_seconds=0.3))
    await until(lambda: len(flaky.calls) == 1)
    away = True
    others = asyncio.create_task(dependency.call(assignment, Flaky(1).call))
    await until(lambda: dependency.away)
    await asyncio.sleep(0.5)
    away = False
    assert (await calling, await others) == ("answer", "answer")


async def test_a_call_that_fails_during_an_outage_is_not_the_first_to_ask(assignment):
    """It waits for the one that asks, and what it does after that is counted from then on."""
    answering = asyncio.Event()

    async def probe() -> None:
        if not answering.is_set():
            raise TransientError("away")

    dependency = CircuitBreaker("test", probe)
    first, second = Flaky(1), Flaky(2)
    started = asyncio.Event()

    async def slow_to_fail() -> object:
        started.set()
        if not second.calls:
            await until(lambda: dependency.away)
        return await second.call()

    calls = [asyncio.create_task(dependency.call(assignment, slow_to_fail, limit_seconds=0.2))]
    await started.wait()
    calls.append(asyncio.create_task(dependency.call(assignment, first.call)))
    await until(lambda: len(second.calls) == 1)
    await asyncio.sleep(0.4)
    answering.set()
    assert await asyncio.gather(*calls) == ["answer", "answer"]
