"""Steps of the same name run one after the other, and those of different names concurrently."""

import asyncio

import pytest

from streams.runtime.assignment import Assignment, AssignmentRevoked
from streams.runtime.turns import Turns


async def test_steps_about_one_thing_keep_their_order_and_hold_up_no_other():
    """Steps keep their order whichever is ready first, and finished ones are forgotten."""
    turns, assignment, order = Turns(), Assignment(1), list[str]()
    first_may_end = asyncio.Event()

    async def step(name: str, label: str) -> None:
        async with turns.take(name, assignment):
            if label == "first":
                await first_may_end.wait()
            order.append(label)

    tasks = [asyncio.create_task(step(name, label)) for name, label in (("a", "first"), ("a", "second"), ("b", "other"))]
    await asyncio.wait({tasks[2]}, timeout=10)
    assert order == ["other"]
    first_may_end.set()
    await asyncio.gather(*tasks)
    assert order == ["other", "first", "second"]
    assert not turns._last


async def test_a_step_that_fails_lets_the_next_one_go():
    """The error only affects its own step."""
    turns, assignment = Turns(), Assignment(1)

    async def fails() -> None:
        async with turns.take("a", assignment):
            raise RuntimeError

    failing, passing = asyncio.create_task(fails()), asyncio.create_task(_pass(turns, assignment))
    await passing
    with pytest.raises(RuntimeError):
        await failing


async def test_a_waiting_step_is_released_when_the_assignment_ends():
    """A rebalance must not wait for another record's step."""
    turns, assignment, release = Turns(), Assignment(1), asyncio.Event()

    async def holds() -> None:
        async with turns.take("a", assignment):
            await release.wait()

    holding = asyncio.create_task(holds())
    waiting = asyncio.create_task(_pass(turns, assignment))
    await asyncio.sleep(0)
    assignment.revoke(asyncio.get_running_loop())
    with pytest.raises(AssignmentRevoked):
        await asyncio.wait_for(waiting, 10)
    release.set()
    await holding


async def _pass(turns: Turns, assignment: Assignment) -> None:
    async with turns.take("a", assignment):
        pass
