"""The service's own processes, run on an embedded stack by the demo and the benchmarks."""

import sys
from pathlib import Path
from typing import Literal

import aiohttp

from devstack.part import Part
from devstack.ports import HOST, choose_ports

Role = Literal["coordinator", "gpu"]


def worker(role: Role, name: str, folder: Path, environment: dict[str, str]) -> Part:
    """Return a worker process, not started yet. It is ready once ``/readyz`` says so: it has joined its consumer group.

    Args:
        environment: its settings, in addition to this process's environment.
    """
    port = choose_ports([name], {})[name]

    async def check() -> None:
        async with aiohttp.ClientSession(raise_for_status=True) as http, http.get(f"http://{HOST}:{port}/readyz") as response:
            await response.read()

    return Part(
        name,
        [sys.executable, "-P", "-m", "cli", "worker", role],
        folder,
        check,
        {**environment, "EXTENTS_HTTP_PORT": str(port)},
    )
