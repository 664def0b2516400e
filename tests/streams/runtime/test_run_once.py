"""A step requested by several callers runs once."""

import asyncio

import pytest

from streams.runtime.assignment import Assignment, AssignmentRevoked
from streams.runtime.run_once import RunOnce


@pytest.fixture
def assignment():
    return Assignment(1)


class Step:
    """Counts how often it runs, waits until it may continue, and fails a given number of times."""

    def __init__(self, failures: int = 0) -> None:
        self.taken, self.failures = 0, failures
        self.begun, self.let_on = asyncio.Event(), asyncio.Event()

    async def __call__(self) -> None:
        self.begun.set()
        await self.let_on.wait()
        self.taken += 1
        if self.taken <= self.failures:
            raise ValueError("not this time")


async def test_a_step_runs_once(assignment):
    """Callers return when the running step is done, later callers at once; other steps are independent."""
    once, step, other = RunOnce(10), Step(), Step()
    asking = [asyncio.create_task(once.run("a", assignment, step)) for _ in range(3)]
    await step.begun.wait()
    other.let_on.set()
    await once.run("b", assignment, other)
    assert not any(task.done() for task in asking)
    step.let_on.set()
    await asyncio.gather(*asking)
    await once.run("a", assignment, step)
    assert (step.taken, other.taken) == (1, 1)


async def test_a_step_that_fails_is_left_to_the_next(assignment):
    """The first caller gets the error, and the second runs the step."""
    once, step = RunOnce(10), Step(failures=1)
    asking = [asyncio.create_task(once.run("a", assignment, step)) for _ in range(2)]
    step.let_on.set()
    with pytest.raises(ValueError, match="not this time"):
        await asking[0]
    await asking[1]
    assert step.taken == 2


async def test_waiting_ends_with_the_assignment(assignment):
    """A caller that waits for another caller's step is released when the assignment ends, and the step can still run afterwards."""
    once, step = RunOnce(10), Step()
    first, second = (asyncio.create_task(once.run("a", assignment, step)) for _ in range(2))
    await step.begun.wait()
    assignment.revoke(asyncio.get_running_loop())
    with pytest.raises(AssignmentRevoked):
        await second
    step.let_on.set()
    await first
    await once.run("a", Assignment(2), step)
    assert step.taken == 1


async def test_only_the_latest_steps_are_remembered(assignment):
    """A step that was followed by many others is run again."""
    once, step = RunOnce(2), Step()
    step.let_on.set()
    for name in ("a", "b", "c", "c", "a"):
        await once.run(name, assignment, step)
    assert step.taken == 4
