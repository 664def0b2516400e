"""The finisher works with the state of a run at its turn, and announces an outcome once."""

import asyncio
from types import SimpleNamespace
from uuid import UUID

import pytest

from core.types import Outcome
from streams.coordinator import finisher
from streams.coordinator.finisher import FINISH_TRIES, Finisher
from streams.policy.run_state import RunState
from streams.records import RunFinished
from streams.runtime.assignment import Assignment
from tests.streams.run_logs import request, started
from tests.streams.waiting import until

MS = 1_700_000_000_000
ANNOUNCE = Finisher._announce


def failed_run(number: int, *requests: int, **changes: object) -> RunState:
    state = RunState(
        run_id=str(UUID(int=number)),
        attempt=1,
        offset=number,
        started=started().model_copy(update={"run_id": UUID(int=number)}),
        requests=[request(item) for item in requests],
        outcome=Outcome.FAILED,
        reason="it broke",
    )
    return state.model_copy(update=changes)


class Coordinator:
    """The surroundings of a finisher: states of runs, and a log that stores what it writes. Announcing waits until ``through`` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, concurrency: int) -> None:
        self.active: dict[str, RunState] = {}
        self.announced: list[RunState] = []
        self.logged: list[str] = []
        self.through = asyncio.Event()
        announce = self._announce

        async def announced(_, state, assignment):
            return await announce(state)

        monkeypatch.setattr(Finisher, "_announce", announced)
        app = SimpleNamespace(assignment=Assignment(1), crash=self._crash)
        publisher = SimpleNamespace(append_to_run_log=self._log)
        nothing = SimpleNamespace()
        self.spans: set[tuple[str, int, int]] = set()
        runs = SimpleNamespace(active=self.active, has_span=lambda *key: key in self.spans)
        self.finisher = Finisher(app, runs, publisher, nothing, nothing, nothing, nothing, concurrency, nothing, nothing)

    async def _announce(self, state: RunState) -> RunFinished:
        self.announced.append(state)
        await self.through.wait()
        answered = [item.request_id for item in state.requests]
        return RunFinished(run_id=UUID(state.run_id), attempt=state.attempt, outcome=Outcome.FAILED, reason="it broke", answered=answered)

    async def _log(self, assignment, run_id, data) -> None:
        self.logged.append(run_id)

    async def _crash(self, error) -> None:
        raise AssertionError("crashed") from error

    def put(self, state: RunState) -> None:
        """Folds as the agent does: it keeps the state while there is something to do, and notifies the finisher."""
        if state.is_marker:
            self.active.pop(state.run_id, None)
        else:
            self.active[state.run_id] = state
        self.finisher.notice(state)


async def test_a_run_that_finishes_while_it_waits_for_a_slot_is_left_alone(monkeypatch):
    """A run that was finished meanwhile is skipped: its spans are gone, so finishing it again would crash."""
    coordinator = Coordinator(monkeypatch, concurrency=1)
    first, second = failed_run(1, 1), failed_run(2, 2)
    coordinator.put(first)
    coordinator.put(second)
    await until(lambda: coordinator.announced)
    coordinator.put(second.model_copy(update={"finished_at_ms": MS, "requests": []}))
    coordinator.through.set()
    await until(lambda: not coordinator.finisher._tasks)
    assert coordinator.announced == [first]


async def test_a_request_that_joins_while_the_run_waits_is_notified_with_the_others(monkeypatch):
    """The run's state is read again at its turn, so requests that joined meanwhile are notified with the others."""
    coordinator = Coordinator(monkeypatch, concurrency=1)
    coordinator.put(failed_run(1, 1))
    coordinator.put(failed_run(2, 2))
    await until(lambda: coordinator.announced)
    coordinator.put(failed_run(2, 2, 3))
    coordinator.through.set()
    await until(lambda: len(coordinator.logged) == 2 and not coordinator.finisher._tasks)
    assert [len(state.requests) for state in coordinator.announced] == [1, 2]


async def test_the_outcome_is_announced_once_although_requests_join_before_the_end_is_folded(monkeypatch):
    """A request that joins after the announcement is answered when the end is folded, without a second dead letter."""
    coordinator = Coordinator(monkeypatch, concurrency=1)
    coordinator.through.set()
    coordinator.put(failed_run(1, 1))
    await until(lambda: coordinator.logged and not coordinator.finisher._tasks)
    coordinator.put(failed_run(1, 1, 2))
    await asyncio.sleep(0.05)
    assert len(coordinator.announced) == 1
    coordinator.put(failed_run(1, 2, finished_at_ms=MS))
    await until(lambda: len(coordinator.logged) == 2 and not coordinator.finisher._tasks)
    assert [item.request_id for item in coordinator.announced[-1].requests] == [request(2).request_id]
    coordinator.put(failed_run(1, finished_at_ms=MS))
    assert coordinator.finisher._answered == {}


async def test_the_next_attempt_is_announced_separately(monkeypatch):
    """What was sent for one attempt does not delay the next one."""
    coordinator = Coordinator(monkeypatch, concurrency=1)
    coordinator.through.set()
    coordinator.put(failed_run(1, 1))
    await until(lambda: coordinator.logged and not coordinator.finisher._tasks)
    coordinator.put(failed_run(1, 1, attempt=2))
    await until(lambda: len(coordinator.logged) == 2)
    assert [state.attempt for state in coordinator.announced] == [1, 2]


async def test_a_completed_run_waits_for_results_that_are_not_there_yet(monkeypatch):
    """If its state was stored and a result was not, the run waits until the result's record has been redelivered."""
    coordinator = Coordinator(monkeypatch, concurrency=1)
    coordinator.through.set()
    state = failed_run(1, 1, outcome=Outcome.COMPLETED, reason=None)
    coordinator.spans = {(state.run_id, 1, span) for span in range(1, state.spans)}
    coordinator.active[state.run_id] = state
    coordinator.finisher.after_recovery()
    await asyncio.sleep(0.05)
    assert not coordinator.announced
    coordinator.spans.add((state.run_id, 1, 0))
    coordinator.finisher.notice(state)
    await until(lambda: coordinator.logged)
    assert coordinator.announced == [state]


class Broken:
    """A completed run that cannot be finished because of a bug, and the reasons with which it was announced as failed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, announcing_fails: bool) -> None:
        self.tries = 0
        self.reasons: list[str] = []
        self._announcing_fails = announcing_fails
        self.coordinator = Coordinator(monkeypatch, concurrency=1)
        self.state = failed_run(1, 1, outcome=Outcome.COMPLETED, reason=None)
        self.coordinator.spans = {(self.state.run_id, 1, span) for span in range(self.state.spans)}
        monkeypatch.setattr(finisher, "FIRST_PAUSE_SECONDS", 0.0)
        monkeypatch.setattr(Finisher, "_announce", ANNOUNCE)
        monkeypatch.setattr(Finisher, "_complete", lambda _, state, assignment: self._complete())
        monkeypatch.setattr(Finisher, "_fail", lambda _, state, assignment, reason: self._fail(reason))

    async def _complete(self) -> None:
        self.tries += 1
        raise RuntimeError("the result has no column")

    async def _fail(self, reason: str) -> None:
        self.reasons.append(reason)
        if self._announcing_fails:
            raise RuntimeError("nor has the failure")

    async def at_rest(self) -> None:
        await until(lambda: self.reasons and not self.coordinator.finisher._tasks)


async def test_a_run_that_cannot_be_finished_is_announced_as_failed(monkeypatch):
    """The failure is announced once, after some tries, with the error; the process continues."""
    broken = Broken(monkeypatch, announcing_fails=False)
    broken.coordinator.put(broken.state)
    await broken.at_rest()
    assert (broken.tries, len(broken.reasons), broken.coordinator.logged) == (FINISH_TRIES, 1, [broken.state.run_id])
    assert "the result has no column" in broken.reasons[0]


async def test_a_run_that_cannot_be_announced_either_is_left_to_the_next_recovery(monkeypatch):
    """A run that cannot even be announced is not retried forever; the partition's next owner retries it."""
    broken = Broken(monkeypatch, announcing_fails=True)
    broken.coordinator.put(broken.state)
    await broken.at_rest()
    assert (broken.tries, len(broken.reasons), broken.coordinator.logged) == (FINISH_TRIES, FINISH_TRIES, [])
    broken.coordinator.finisher.notice(broken.state)
    assert not broken.coordinator.finisher._tasks
    broken.coordinator.finisher.after_recovery()
    await until(lambda: not broken.coordinator.finisher._tasks)
    assert (broken.tries, len(broken.reasons)) == (2 * FINISH_TRIES, 2 * FINISH_TRIES)
