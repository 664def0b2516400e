"""What the process reports about itself, and that a hung step ends it."""

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
import structlog

from core.errors import ConfigurationError
from core.metrics import SPANS
from streams.runtime import health as health_module
from streams.runtime.health import EXIT_HUNG, Health, HealthServer
from tests.patience import HANGS_AFTER


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def served(health: Health) -> AsyncIterator[str]:
    port = free_port()
    async with HealthServer(health, "127.0.0.1", port):
        yield f"http://127.0.0.1:{port}"


async def get(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.text()


def test_a_step_within_its_limit_is_not_a_fault():
    """Work in progress is not a fault, and leaves nothing behind."""
    health = Health()
    with health.step("decode", 60.0, "chunk 7"):
        assert health.faults() == []
    assert health.faults() == []


def test_a_step_over_its_limit_is_named():
    """The fault names the step, its subject and the excess time, and ends with the step."""
    health = Health()
    with health.step("decode", -5.0, "chunk 7"):
        assert health.faults() == ["decode chunk 7 runs 5 s over its limit of -5 s"]
        assert health.hung() is None  # it can be interrupted
    assert health.faults() == []


def test_only_a_fatal_step_counts_as_hung():
    """A step that only the end of the process can end is recognised even if others run beside it."""
    health = Health()
    with health.step("fetch", -1.0), health.step("predict", -1.0, "run:3", fatal=True), health.step("predict", 60.0, fatal=True):
        assert health.hung() == "predict run:3, over its limit of -1 s"
    assert health.hung() is None


def test_a_limit_names_its_setting():
    """The fault of a step over its limit also names the variable that changes the limit."""
    health = Health()
    with health.step("predict", -1.0, "run:3", fatal=True, setting="EXTENTS_PREDICT_LIMIT_SECONDS"):
        assert health.faults()[0].endswith("over its limit of -1 s (EXTENTS_PREDICT_LIMIT_SECONDS)")
        assert health.hung() == "predict run:3, over its limit of -1 s (EXTENTS_PREDICT_LIMIT_SECONDS)"


def test_a_step_ends_with_an_error_too():
    """A step that raises is over."""
    health = Health()
    with pytest.raises(ValueError, match="broken"), health.step("decode", -1.0):
        raise ValueError("broken")
    assert health.faults() == []


def test_steps_of_many_threads_do_not_disturb_each_other():
    """Steps begin and end in threads while another thread reads them."""
    health = Health()

    def work() -> None:
        for _ in range(500):
            with health.step("decode", 60.0):
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert health.faults() == []
    for thread in threads:
        thread.join()


def test_a_blocked_event_loop_is_a_fault(monkeypatch):
    """A loop that has not run for longer than its limit is reported."""
    health = Health()
    monkeypatch.setattr(health_module, "LOOP_LIMIT_SECONDS", -1.0)
    assert health.faults() == ["the event loop has not run for 0 s"]


def test_waiting_is_not_a_fault():
    """Waits are distinguished from faults, each with its reason; conditions that hold add nothing."""
    health = Health()
    health.add_wait("database", lambda: "away")
    health.add_wait("store", lambda: None)
    health.add_fault("group", lambda: None)
    assert health.faults() == []
    assert health.waits() == ["database: away"]
    health.add_fault("group", lambda: "lost")
    assert health.faults() == ["group: lost"]


async def test_a_healthy_process_says_so():
    """Both endpoints of a healthy process respond with 200."""
    async with served(Health()) as url:
        assert await get(f"{url}/healthz") == (200, '{"status": "ok", "reasons": []}')
        assert (await get(f"{url}/readyz"))[0] == 200


async def test_waiting_is_alive_but_not_ready():
    """A process that waits for its database must be neither restarted nor given work."""
    health = Health()
    health.add_wait("database", lambda: "away")
    async with served(health) as url:
        assert (await get(f"{url}/healthz"))[0] == 200
        status, body = await get(f"{url}/readyz")
        assert (status, "database: away" in body) == (503, True)


async def test_a_fault_is_neither_alive_nor_ready():
    """A step over its limit shows in both endpoints."""
    health = Health()
    with health.step("decode", -1.0, "chunk 7"):
        async with served(health) as url:
            for path in ("healthz", "readyz"):
                status, body = await get(f"{url}/{path}")
                assert (status, "decode chunk 7" in body) == (503, True)


async def test_metrics_are_served():
    """Prometheus gets the service's own metrics."""
    async with served(Health()) as url:
        status, body = await get(f"{url}/metrics")
        assert (status, SPANS.describe()[0].name in body) == (200, True)


async def test_a_running_event_loop_is_noticed(monkeypatch):
    """While the server is up, it records that the loop runs."""
    health = Health()
    turned = asyncio.Event()
    monkeypatch.setattr(health, "note_loop_turn", turned.set)
    async with served(health):
        await asyncio.wait_for(turned.wait(), 10)


async def test_a_taken_port_names_the_setting():
    """If two workers on one machine have the same port, the second one names the variable to change."""
    port = free_port()
    async with HealthServer(Health(), "127.0.0.1", port):
        with pytest.raises(ConfigurationError, match=rf"127\.0\.0\.1:{port}.*EXTENTS_HTTP_PORT"):
            await HealthServer(Health(), "127.0.0.1", port).__aenter__()


HANGS = """
import asyncio, time
from streams.runtime.health import Health, HealthServer

async def main():
    health = Health()
    async with HealthServer(health, "127.0.0.1", 0):
        with health.step("predict", 0.1, "run:3", fatal=True):
            {hang}

asyncio.run(main())
"""


@pytest.mark.parametrize("hang", ["time.sleep(60)", "await asyncio.sleep(60)"])
def test_a_hung_call_ends_the_process_with_status_70(hang):
    """A fatal step over its limit ends the process, even while it blocks the event loop."""
    ended = subprocess.run(
        [sys.executable, "-c", HANGS.format(hang=hang)], capture_output=True, text=True, timeout=HANGS_AFTER, check=False
    )
    assert ended.returncode == EXIT_HUNG == 70
    assert "process.hung" in ended.stdout + ended.stderr


async def test_a_blocked_loop_is_logged(monkeypatch):
    """Nothing answers over HTTP then: the watching thread logs it once, with what was running."""
    monkeypatch.setattr("streams.runtime.health.LOOP_LIMIT_SECONDS", 0.01)
    health = Health()
    with structlog.testing.capture_logs() as logs, health.step("decode", 60.0, "chunk 7"):
        async with served(health):
            time.sleep(1.2)  # noqa: ASYNC251 - that is what is tested
    blocked = [entry for entry in logs if entry["event"] == "process.blocked"]
    assert [entry["running"] for entry in blocked] == [["decode chunk 7"]]
    assert blocked[0]["reason"].startswith("the event loop has not run for ")
