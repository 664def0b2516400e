"""Awaiting several things at once, so that one that fails ends the others and its own error is what is raised."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any


async def concurrently(coroutines: Iterable[Coroutine[Any, Any, Any]]) -> list[Any]:
    """The results, in order. On the first error the others are cancelled and waited for, then it is raised as it is.

    A TaskGroup would wrap it into a group, and errors here are told apart by their class.
    """
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
