"""Waits last no longer than the assignment."""

import asyncio
import threading

import pytest

from streams.runtime.assignment import Assignment, AssignmentRevoked


@pytest.fixture
def assignment():
    return Assignment(7)


async def answer(value: str = "answer") -> str:
    await asyncio.sleep(0)
    return value


async def test_a_result_in_time_is_returned(assignment):
    """A result or an error is passed on unchanged."""
    assert await assignment.until_revoked(answer()) == "answer"
    error = ValueError("own")

    async def fail() -> None:
        raise error

    with pytest.raises(ValueError, match="own") as raised:
        await assignment.until_revoked(fail())
    assert raised.value is error


async def test_a_revocation_from_another_thread_cancels_waiting(assignment):
    """Faust's consumer calls from its own thread; all waits have ended when the call returns."""
    ended = []

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(True)

    waiting = asyncio.create_task(assignment.until_revoked(waits()))
    await asyncio.sleep(0.01)
    thread = threading.Thread(target=assignment.revoke, args=[asyncio.get_running_loop()])
    thread.start()
    with pytest.raises(AssignmentRevoked):
        await asyncio.wait_for(waiting, 10)
    thread.join()
    assert ended
    assert assignment.revoked


async def test_nothing_waits_after_the_revocation(assignment):
    """A late caller is released at once, and so are all others."""
    assignment.revoke(asyncio.get_running_loop())
    with pytest.raises(AssignmentRevoked):
        assignment.check()
    with pytest.raises(AssignmentRevoked):
        await asyncio.wait_for(assignment.until_revoked(asyncio.Event().wait()), 10)


async def test_cancelling_the_waiter_cancels_the_awaited_task(assignment):
    """Nothing keeps running after a shutdown."""
    inner = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(assignment.until_revoked(inner))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert inner.cancelled()
