"""Awaits several coroutines at once. The first error cancels the others and is raised unchanged."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any


async def concurrently(coroutines: Iterable[Coroutine[Any, Any, Any]]) -> list[Any]:
    """Return the results in order. On the first error, cancel the others, wait for them, and raise that error.

    A TaskGroup would wrap the error in an exception group, but callers distinguish errors by their class.
    """
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
