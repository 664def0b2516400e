"""Waiting no longer than the partitions are ours."""

import asyncio
import threading

import pytest

from streams.app import Tenure, TenureEnded


@pytest.fixture
def tenure():
    return Tenure(7)


async def answer(value: str = "answer") -> str:
    await asyncio.sleep(0)
    return value


async def test_what_is_done_in_time_is_returned(tenure):
    """A result comes through, and so does an error, as it is."""
    assert await tenure.during(answer()) == "answer"
    error = ValueError("own")

    async def fail() -> None:
        raise error

    with pytest.raises(ValueError, match="own") as raised:
        await tenure.during(fail())
    assert raised.value is error


async def test_an_end_from_another_thread_cancels_what_waits(tenure):
    """Faust's consumer calls from its own thread; what waited has ended when the caller goes on."""
    ended = []

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(True)

    waiting = asyncio.create_task(tenure.during(waits()))
    await asyncio.sleep(0.01)
    thread = threading.Thread(target=tenure.end, args=[asyncio.get_running_loop()])
    thread.start()
    with pytest.raises(TenureEnded):
        await asyncio.wait_for(waiting, 10)
    thread.join()
    assert ended
    assert tenure.ended


async def test_nothing_begins_to_wait_after_the_end(tenure):
    """Whoever comes late learns it at once, and everybody else who asks."""
    tenure.end(asyncio.get_running_loop())
    with pytest.raises(TenureEnded):
        tenure.check()
    with pytest.raises(TenureEnded):
        await asyncio.wait_for(tenure.during(asyncio.Event().wait()), 10)
    await asyncio.wait_for(tenure.wait_ended(), 10)


async def test_cancelling_the_waiter_cancels_what_it_waits_for(tenure):
    """At a shutdown nothing is left running."""
    inner = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(tenure.during(inner))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert inner.cancelled()
