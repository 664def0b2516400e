"""Transient errors are retried, and outages are distinguished from errors of one call."""

import asyncio
import itertools
import time

import pytest

from core.errors import ConfigurationError, MissingObjectError, PermanentError, TransientError
from core.metrics import WAITING
from streams.runtime import circuit_breaker as circuit_breaker
from streams.runtime.assignment import Assignment, AssignmentRevoked
from streams.runtime.circuit_breaker import CircuitBreaker
from tests.streams.waiting import until


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(circuit_breaker, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(circuit_breaker, "MAX_PAUSE_SECONDS", 0.08)


class Flaky:
    """A call that fails a given number of times and then succeeds, with a probe of its dependency."""

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


async def test_transient_errors_are_retried_until_success(assignment):
    """Transient errors are not raised to the caller, however many there are."""
    flaky = Flaky(6)
    breaker = CircuitBreaker("test", flaky.probe)
    assert await breaker.call(assignment, flaky.call) == "answer"
    assert len(flaky.calls) == 7
    assert not breaker.is_open
    assert breaker.wait_reason() is None


async def test_pauses_grow_to_a_limit(assignment):
    """No retry comes before its pause, and each pause is twice as long as the one before, up to the limit."""
    flaky = Flaky(6)
    await CircuitBreaker("test", flaky.probe).call(assignment, flaky.call)
    least = [0.01, 0.02, 0.04, 0.08, 0.08, 0.08]
    pauses = [after - before for before, after in itertools.pairwise(flaky.calls)]
    assert all(pause >= expected * 0.99 for pause, expected in zip(pauses, least, strict=True)), pauses


async def test_permanent_errors_are_raised_at_once(assignment):
    """An error about the request itself is raised to the caller and not retried."""
    flaky = Flaky(0, MissingObjectError("gone"))
    with pytest.raises(MissingObjectError, match="gone"):
        await CircuitBreaker("test", flaky.probe).call(assignment, flaky.call)
    assert len(flaky.calls) == 1


async def test_a_refused_probe_closes_the_breaker(assignment):
    """A dependency that was down and now refuses the probe is no longer down."""
    flaky = Flaky(1)
    answers = iter((TransientError("away"), ConfigurationError("no such bucket")))

    async def probe() -> None:
        raise next(answers)

    breaker = CircuitBreaker("test", probe)
    assert await breaker.call(assignment, flaky.call) == "answer"
    assert not breaker.is_open


async def test_a_failing_call_is_given_up_after_its_limit(assignment):
    """If a call keeps failing while the dependency answers others, it is given up: the error is about its record."""
    flaky = Flaky(float("inf"))
    breaker = CircuitBreaker("test", flaky.probe)
    with pytest.raises(TransientError, match="failure"):
        await breaker.call(assignment, flaky.call, limit_seconds=0.05)
    assert flaky.calls[-1] - flaky.calls[0] >= 0.04
    assert not breaker.is_open


async def test_an_outage_does_not_count_against_the_limit(assignment):
    """A call is not given up because of an outage: it continues afterwards, with its full limit."""
    flaky = Flaky(4, probes_unanswered=8)
    assert await CircuitBreaker("test", flaky.probe).call(assignment, flaky.call, limit_seconds=0.1) == "answer"
    assert flaky.probes[8] - flaky.calls[0] > 0.1
    assert len(flaky.calls) == 5


async def test_a_failing_call_does_not_delay_other_calls(assignment):
    """While one call fails repeatedly with growing pauses, others to the same dependency are made at once."""
    failing, others = Flaky(8), Flaky(0)
    breaker = CircuitBreaker("test", failing.probe)
    calling = asyncio.create_task(breaker.call(assignment, failing.call))
    longest = 0.0
    while not calling.done():
        began = time.monotonic()
        await breaker.call(assignment, others.call)
        longest = max(longest, time.monotonic() - began)
        await asyncio.sleep(0)
    assert failing.calls[-1] - failing.calls[0] > 0.4
    assert longest < 0.08


async def test_waiting_ends_with_the_assignment(assignment):
    """A rebalance ends a failing call immediately, not only at its next retry."""
    flaky = Flaky(float("inf"), probes_unanswered=float("inf"))
    breaker = CircuitBreaker("test", flaky.probe)
    calling = asyncio.create_task(breaker.call(assignment, flaky.call))
    await until(lambda: breaker.is_open)
    assert "unreachable" in (breaker.wait_reason() or "")
    assignment.revoke(asyncio.get_running_loop())
    with pytest.raises(AssignmentRevoked):
        await calling


async def test_a_call_that_hangs_ends_with_the_assignment(assignment):
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


async def test_only_probes_go_out_while_the_breaker_is_open(assignment):
    """However many calls wait for a dependency, it is probed once after each pause, and each pause is twice as long as the one before."""
    calls = [Flaky(1) for _ in range(30)]
    probed = Flaky(0, probes_unanswered=6)
    breaker = CircuitBreaker("test", probed.probe)
    calling = [asyncio.create_task(breaker.call(assignment, call.call)) for call in calls]
    await until(lambda: breaker.is_open)
    calling.append(asyncio.create_task(breaker.call(assignment, Flaky(0).call)))
    assert await asyncio.gather(*calling) == ["answer"] * 31
    assert len(probed.probes) == 7
    assert [len(call.calls) for call in calls] == [2] * 30
    least = [0.01, 0.02, 0.04, 0.08, 0.08, 0.08]
    assert all(after - before >= pause * 0.99 for (before, after), pause in zip(itertools.pairwise(probed.probes), least, strict=True))


async def test_regular_work_is_left_out_while_the_breaker_is_open(assignment):
    """The check passes before and after an outage, and raises a transient error that names the dependency during one."""
    flaky = Flaky(1, probes_unanswered=2)
    breaker = CircuitBreaker("test", flaky.probe)
    breaker.check()
    calling = asyncio.create_task(breaker.call(assignment, flaky.call))
    await until(lambda: breaker.is_open)
    with pytest.raises(TransientError, match="test: unreachable"):
        breaker.check()
    assert await calling == "answer"
    breaker.check()


async def test_calls_that_fail_together_share_a_probe(assignment):
    """Thirty calls that fail at the same time do not cause thirty probes, and none of the failures is taken for an outage."""
    calls = [Flaky(1) for _ in range(30)]
    probed = Flaky(0)

    async def probe() -> None:
        await asyncio.sleep(0.01)
        await probed.probe()

    breaker = CircuitBreaker("test", probe)
    await asyncio.gather(*(breaker.call(assignment, call.call) for call in calls))
    assert len(probed.probes) <= 2


async def test_another_waiting_call_takes_over_probing(assignment):
    """When the assignment of the probing call has ended, another waiting call continues the probes."""
    first, second = Flaky(float("inf")), Flaky(1)
    probed = Flaky(0, probes_unanswered=4)
    breaker = CircuitBreaker("test", probed.probe)
    failing = asyncio.create_task(breaker.call(assignment, first.call))
    await until(lambda: breaker.is_open)
    waiting = asyncio.create_task(breaker.call(Assignment(2), second.call))
    await asyncio.sleep(0)
    assignment.revoke(asyncio.get_running_loop())
    with pytest.raises(AssignmentRevoked):
        await failing
    assert await waiting == "answer"


async def test_an_outage_shows_in_gauge_and_readiness(assignment):
    """During an outage the gauge is 1 and readiness says so; afterwards both end."""
    flaky = Flaky(1, probes_unanswered=2)
    breaker = CircuitBreaker("observed", flaky.probe)
    calling = asyncio.create_task(breaker.call(assignment, flaky.call))
    await until(lambda: breaker.is_open)
    assert WAITING.labels("observed")._value.get() == 1
    assert "unreachable" in (breaker.wait_reason() or "")
    await calling
    assert WAITING.labels("observed")._value.get() == 0
    assert breaker.wait_reason() is None


async def test_watching_notices_and_times_an_outage_without_calls(monkeypatch):
    """Watching a dependency shows its outage, its return and the length; a second outage adds to the first."""
    monkeypatch.setattr(circuit_breaker, "WATCH_SECONDS", 0.01)
    answering = True

    async def probe() -> None:
        if not answering:
            raise TransientError("away")

    breaker = CircuitBreaker("test", probe)
    watching = asyncio.create_task(breaker.watch())
    outages = [breaker.open_seconds]
    for _ in range(2):
        answering = False
        await until(lambda: breaker.is_open)
        answering = True
        await until(lambda: not breaker.is_open)
        outages.append(breaker.open_seconds)
        await asyncio.sleep(0.05)
        assert breaker.open_seconds == outages[-1]
    assert 0.0 == outages[0] < outages[1] < outages[2]
    watching.cancel()


async def test_an_outage_noticed_by_another_call_does_not_count(assignment, monkeypatch):
    """For a call that failed by itself before and after an outage, the outage does not count as failing."""
    unreachable = True

    async def probe() -> None:
        if unreachable:
            raise TransientError("away")

    breaker, flaky = CircuitBreaker("test", probe), Flaky(2)
    unreachable = False
    monkeypatch.setattr(circuit_breaker, "FIRST_PAUSE_SECONDS", 0.05)
    calling = asyncio.create_task(breaker.call(assignment, flaky.call, limit_seconds=0.3))
    await until(lambda: len(flaky.calls) == 1)
    unreachable = True
    others = asyncio.create_task(breaker.call(assignment, Flaky(1).call))
    await until(lambda: breaker.is_open)
    await asyncio.sleep(0.5)
    unreachable = False
    assert (await calling, await others) == ("answer", "answer")


async def test_a_call_that_fails_during_an_outage_waits_for_the_probe_under_way(assignment):
    """A call that fails during an outage waits for the probing call, and only its later failures count."""
    answering = asyncio.Event()

    async def probe() -> None:
        if not answering.is_set():
            raise TransientError("away")

    breaker = CircuitBreaker("test", probe)
    first, second = Flaky(1), Flaky(2)
    started = asyncio.Event()

    async def slow_to_fail() -> object:
        started.set()
        if not second.calls:
            await until(lambda: breaker.is_open)
        return await second.call()

    calls = [asyncio.create_task(breaker.call(assignment, slow_to_fail, limit_seconds=0.2))]
    await started.wait()
    calls.append(asyncio.create_task(breaker.call(assignment, first.call)))
    await until(lambda: len(second.calls) == 1)
    await asyncio.sleep(0.4)
    answering.set()
    assert await asyncio.gather(*calls) == ["answer", "answer"]


async def test_a_refusal_that_the_probe_contradicts_is_the_calls_own():
    """If the database refuses a row while it answers others, the error is the record's: it is raised unchanged after one probe."""
    flaky = Flaky(0, answer=PermanentError("23514 check violated"))
    with pytest.raises(PermanentError, match="23514") as raised:
        await CircuitBreaker("database", flaky.probe).call(Assignment(1), flaky.call)
    assert type(raised.value) is PermanentError
    assert len(flaky.probes) == 1


@pytest.mark.parametrize("refusal", [PermanentError("404 no route"), ConfigurationError("check SUPABASE_URL")])
async def test_a_refusal_of_everything_is_a_configuration_fault(refusal):
    """A wrong URL refuses the probe like any call, so no record is blamed."""

    async def probe() -> None:
        raise refusal

    flaky = Flaky(0, answer=PermanentError("404 for this one"))
    with pytest.raises(ConfigurationError, match=f"{refusal}.*404 for this one"):
        await CircuitBreaker("database", probe).call(Assignment(1), flaky.call)


async def test_a_refusal_during_an_outage_is_asked_again():
    """A gateway's error page during an outage counts against no record: the call is repeated afterwards."""
    flaky = Flaky(0, answer=PermanentError("<html>"), probes_unanswered=2)
    breaker = CircuitBreaker("database", flaky.probe)
    calling = asyncio.create_task(breaker.call(Assignment(1), flaky.call))
    await until(lambda: breaker.is_open)
    flaky.answer = "answer"
    assert await asyncio.wait_for(calling, 5) == "answer"


async def test_an_error_that_says_what_it_is_about_needs_no_probe():
    """A missing object is a matter of the record."""
    flaky = Flaky(0, answer=MissingObjectError("s3://b/k does not exist"))
    with pytest.raises(MissingObjectError):
        await CircuitBreaker("object_store", flaky.probe).call(Assignment(1), flaky.call)
    assert flaky.probes == []
