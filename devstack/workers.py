"""The service's own processes, run beside an embedded stack: for the demo and the tests."""

import sys
from pathlib import Path
from typing import Literal

import aiohttp

from devstack.part import Part
from devstack.ports import HOST, choose_ports

Role = Literal["coordinator", "gpu"]


def worker(role: Role, name: str, folder: Path, environment: dict[str, str]) -> Part:
    """A worker that has yet to be started; it is ready when it is alive and has joined its group.

    Args:
        environment: the settings it reads, the stack's among them.
    """
    port = choose_ports([name], {})[name]

    async def check() -> None:
        async with aiohttp.ClientSession(raise_for_status=True) as http, http.get(f"http://{HOST}:{port}/readyz") as response:
            await response.read()

    return Part(
        name,
        [sys.executable, "-m", "cli", "worker", role],
        folder,
        check,
        {**environment, "EXTENTS_HTTP_PORT": str(port)},
    )
