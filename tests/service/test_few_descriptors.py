"""Workers with few descriptors serve while clients open connections and send nothing."""

import asyncio
import contextlib
import json
import re
from collections import Counter
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.service.installation import Installation
from tests.service.processes import Worker
from tests.service.videos import video

pytestmark = pytest.mark.asyncio(loop_scope="module")

DESCRIPTORS = 256
HALF_OPEN = 300
LIMITED = (
    "import os, resource, sys;"
    f"resource.setrlimit(resource.RLIMIT_NOFILE, ({DESCRIPTORS}, {DESCRIPTORS}));"
    "os.execv(sys.executable, [sys.executable, '-P', '-m', 'cli', 'worker', sys.argv[1]])"
)


async def test_half_open_connections_stop_nobody(service: Installation) -> None:
    """With 300 half-open connections at each worker, probes are answered, runs complete, and the logs stay short."""
    workers = [service.processes.command(role, "python", "-c", LIMITED, role) for role in ("coordinator", "gpu")]
    async with asyncio.timeout(300):
        await asyncio.gather(*(worker.ready() for worker in workers))
    lines_before = [len(worker.log.read_text().splitlines()) for worker in workers]
    async with contextlib.AsyncExitStack() as held, aiohttp.ClientSession() as http:
        for worker in workers:
            await held.enter_async_context(half_open(worker, HALF_OPEN))
        for frame_count in (514, 40):
            assert [await probed(http, worker) for worker in workers] == [200, 200]
            _, outcome = await service.run(video(frame_count))
            assert outcome.name == "inference.completed"
        assert [await probed(http, worker) for worker in workers] == [200, 200]
        assert [worker.status for worker in workers] == [None, None], service.processes.tails()
    await service.verify_at_rest()
    for worker, before in zip(workers, lines_before, strict=True):
        lines = worker.log.read_text().splitlines()[before:]
        assert len(lines) < 200, Counter(json.loads(line).get("event") for line in lines).most_common(5)
    assert [await worker.stopped() for worker in workers] == [0, 0]


async def probed(http: aiohttp.ClientSession, worker: Worker) -> int:
    """The answer to the liveness probe, within the time that an orchestrator allows."""
    async with asyncio.timeout(30):
        status, _ = await worker.fetch(http, "healthz")
    return status


@contextlib.asynccontextmanager
async def half_open(worker: Worker, count: int) -> AsyncIterator[None]:
    """Keep this many connections with unfinished requests, and reopen each that the worker ends, as a flood would."""
    address = re.search(r'"addresses":\["http://([^":]+):(\d+)"', worker.log.read_text())
    assert address is not None

    async def keep() -> None:
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection(address[1], int(address[2]))
                try:
                    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ")
                    await reader.read()
                finally:
                    writer.transport.abort()
            await asyncio.sleep(1)

    keeping = [asyncio.create_task(keep()) for _ in range(count)]
    try:
        await asyncio.sleep(2)
        yield
    finally:
        for task in keeping:
            task.cancel()
        await asyncio.gather(*keeping, return_exceptions=True)
        await asyncio.sleep(0.1)  # for the transports to close
