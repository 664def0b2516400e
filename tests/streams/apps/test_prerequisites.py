"""A worker waits until everything that it needs has worked once, and reports what has not."""

import asyncio

import pytest
import structlog

from core.errors import ConfigurationError, TransientError
from streams.apps import prerequisites as module
from streams.apps.prerequisites import Prerequisites
from tests.streams.waiting import until


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(module, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(module, "MAX_PAUSE_SECONDS", 0.02)


class Dependency:
    """Fails with each of these errors in turn, then works."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.tries = list(errors), 0

    async def __call__(self) -> None:
        self.tries += 1
        if self.errors:
            raise self.errors.pop(0)


async def test_each_is_tried_until_it_has_worked_once():
    """What works is not retried; a changed fault is logged and a repeated one is not; in the end nothing is awaited."""
    well, late = Dependency(), Dependency(TransientError("away"), TransientError("away"), ConfigurationError("check A"), OSError("reset"))
    waited = Prerequisites({"well": well, "late": late})
    assert waited.wait_reason() == "well: not tried yet; late: not tried yet"
    with structlog.testing.capture_logs() as logs:
        async with waited:
            assert waited.wait_reason() is None
    assert (well.tries, late.tries) == (1, 5)
    assert [entry["fault"] for entry in logs if entry["event"] == "prerequisite.missing"] == ["away", "check A", "reset"]


async def test_a_missing_dependency_is_reported_meanwhile(monkeypatch):
    """A dependency that does not answer is named with the limit; cancelling ends the wait."""
    monkeypatch.setattr(module, "LIMIT_SECONDS", 0.05)
    waited = Prerequisites({"silent": lambda: asyncio.sleep(60), "wrong": Dependency(*[ConfigurationError("check B")] * 1000)})
    entering = asyncio.create_task(waited.__aenter__())
    await until(lambda: waited.wait_reason() == "silent: no answer within 0 s; wrong: check B")
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering


async def test_a_mistake_of_our_own_is_not_waited_for():
    """An error that is not a dependency's ends the worker."""
    with pytest.raises(KeyError):
        async with Prerequisites({"broken": Dependency(KeyError("x"))}):
            pass
