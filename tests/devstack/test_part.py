"""Starting a part waits as long as the process works, however long that takes."""

import asyncio
import sys
from pathlib import Path

import pytest

from devstack import part as devstack_part
from devstack.part import Part, PartFailedError

WORKING = "import time\nwhile True: time.sleep(0.001); print('at work', flush=True)"
STUCK = "import signal; print('about to wait for ever', flush=True); signal.pause()"


async def never_ready() -> None:
    raise ConnectionRefusedError("nobody listens")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten minutes to about a second."""
    monkeypatch.setattr(devstack_part, "STALLED_SECONDS", 1.5)
    monkeypatch.setattr(devstack_part, "REPORT_SECONDS", 0.2)


@pytest.mark.usefixtures("impatient")
async def test_a_part_that_works_is_waited_for(tmp_path: Path) -> None:
    """While the process works, the wait continues beyond the limit for a stuck one, and says in plain words what it waits for."""
    part = Part("slow", [sys.executable, "-c", WORKING], tmp_path, never_ready)
    messages: list[str] = []
    starting = asyncio.create_task(part.start(messages.append))
    try:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(starting), 4)
        assert len(messages) > 5
        assert messages[0].startswith("waiting for slow, ")
        assert messages[0].endswith(" s so far: it accepts no connections yet")
        assert " s: nobody listens\n" in part.log.read_text()
    finally:
        starting.cancel()
        await part.kill()


@pytest.mark.usefixtures("impatient")
async def test_a_part_that_is_stuck_is_given_up(tmp_path: Path) -> None:
    """A process that neither computes nor logs fails the start, with the error of its last check and the end of its log."""
    part = Part("stuck", [sys.executable, "-c", STUCK], tmp_path, never_ready)
    try:
        with pytest.raises(PartFailedError, match=r"(?s)stuck is stuck: .*nobody listens.*about to wait for ever"):
            await part.start()
    finally:
        await part.kill()


@pytest.mark.usefixtures("impatient")
async def test_own_notes_in_the_log_are_no_progress(tmp_path: Path) -> None:
    """A stuck process is given up although the reasons for waiting are written to its log."""
    part = Part("stuck", [sys.executable, "-c", STUCK], tmp_path, never_ready)
    try:
        with pytest.raises(PartFailedError, match="stuck is stuck"):
            await asyncio.wait_for(part.start(lambda _: None), 30)
    finally:
        await part.kill()


async def test_a_check_that_hangs_is_repeated_with_more_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that times out gets twice the time at its next attempt, so that a slow machine does not count as a broken server."""
    monkeypatch.setattr(devstack_part, "_CHECK_SECONDS", 0.2)
    attempts = 0

    async def slow_check() -> None:
        nonlocal attempts
        attempts += 1
        await asyncio.sleep(0.5)

    part = Part("slow", [sys.executable, "-c", WORKING], tmp_path, slow_check)
    try:
        await part.start()
        assert attempts == 3  # 0.2 s, 0.4 s and 0.8 s
    finally:
        await part.kill()
