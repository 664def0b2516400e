"""Concurrent tasks share one limit on the memory that they hold."""

import asyncio

import pytest

from storage.memory_budget import MemoryBudget


async def hold(budget: MemoryBudget, size: int, held: list[int], release: asyncio.Event) -> None:
    async with budget.reserve(size):
        held.append(size)
        await release.wait()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_no_more_is_held_than_there_is():
    """Concurrent tasks together never hold more than the limit, and each gets its turn."""
    budget, most = MemoryBudget(100), []

    async def take(size: int) -> None:
        async with budget.reserve(size):
            most.append(budget.held_bytes)
            await asyncio.sleep(0)

    await asyncio.gather(*(take(size) for size in (10, 60, 50, 99, 1, 100, 30) * 20))
    assert (max(most) <= 100, len(most), budget.held_bytes) == (True, 140, 0)


async def test_who_needs_more_than_all_holds_it_alone():
    """A reservation above the limit is held alone, and later ones wait for it even if there is room."""
    budget, held, release = MemoryBudget(100), [], asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for size in (40, 500, 10):
            group.create_task(hold(budget, size, held, release))
        await settle()
        assert held == [40]
        release.set()
    assert held == [40, 500, 10]


@pytest.mark.parametrize("moment", ["waiting", "its turn"])
async def test_one_that_is_cancelled_holds_nothing(moment):
    """A task that is cancelled while it waits, or when its turn comes, leaves its memory to the next."""
    budget, held, release = MemoryBudget(100), [], asyncio.Event()
    release.set()
    async with budget.reserve(100):
        second, third = (asyncio.create_task(hold(budget, size, held, release)) for size in (90, 80))
        await settle()
        if moment == "waiting":
            second.cancel()
    second.cancel()  # in the second case its turn has come, but the task has not resumed yet
    await asyncio.gather(second, third, return_exceptions=True)
    assert (held, budget.held_bytes) == ([80], 0)
