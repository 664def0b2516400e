"""The service's processes as tests start, kill and stop them."""

import asyncio
import itertools
import multiprocessing
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final, Literal

import aiohttp

from devstack.part import die_with_parent, tail
from tests.patience import Deadline
from tests.service.faults import Fault, run_worker

Role = Literal["coordinator", "gpu"]

WAIT_SECONDS: Final = 150.0
"""Everything that tests wait for takes seconds on an idle machine; a busy one extends the limit (``tests.patience``)."""

_POLL_SECONDS: Final = 0.05
_ADDRESS: Final = re.compile(r'"addresses":\["(http://[^"]+)"')

# What takes a worker's start its time, imported once. Not the service itself: each process imports that on its own.
_IMPORTED_ONCE: Final = [
    *("aioboto3", "aiobotocore.session", "aiohttp.web", "aiokafka", "av", "faust", "faust.app.base", "faust.transport.drivers.aiokafka"),
    *("prometheus_client", "pydantic_settings", "structlog", "supabase", "torch"),
]


@dataclass(eq=False, slots=True)
class Worker:
    """One process of the service."""

    name: str
    log: Path
    process: "BaseProcess | subprocess.Popen[bytes]"

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    @property
    def status(self) -> int | None:
        """None while it runs; the negative number of a signal that killed it."""
        return self.process.poll() if isinstance(self.process, subprocess.Popen) else self.process.exitcode

    def kill(self) -> None:
        """Send SIGKILL."""
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)

    async def killed(self) -> None:
        """Send SIGKILL, and wait until it is gone."""
        self.kill()
        await self.ended()

    def terminate(self) -> None:
        """Send SIGTERM to a running process."""
        assert self.status is None, f"{self.name} has ended with status {self.status}.\n{tail(self.log)}"
        os.kill(self.pid, signal.SIGTERM)

    async def stopped(self) -> int:
        """Send SIGTERM, and return the exit status."""
        self.terminate()
        return await self.ended()

    async def ready(self) -> None:
        """Wait until it reports that it has joined its group and is not waiting."""
        deadline = Deadline(WAIT_SECONDS)
        async with aiohttp.ClientSession() as http:
            while not await self.is_ready(http):
                assert self.status is None, f"{self.name} has ended with status {self.status}.\n{tail(self.log)}"
                assert not deadline.passed, f"{self.name} is not ready.\n{tail(self.log)}"
                await asyncio.sleep(_POLL_SECONDS)

    async def is_ready(self, http: aiohttp.ClientSession) -> bool:
        """Whether it reports that now."""
        try:
            return (await self.fetch(http, "readyz"))[0] == 200
        except aiohttp.ClientError:
            return False

    async def fetch(self, http: aiohttp.ClientSession, path: str) -> tuple[int, str]:
        """Status and text of its answer over HTTP.

        Raises:
            aiohttp.ClientError: it does not answer, or not yet.
        """
        async with http.get(f"{self.address}/{path}") as answer:
            return answer.status, await answer.text()

    @property
    def address(self) -> str:
        """The address on which it listens.

        Raises:
            aiohttp.ClientError: it does not listen yet.
        """
        listening = _ADDRESS.search(self.log.read_text()) if self.log.exists() else None
        if listening is None:
            raise aiohttp.ClientError(f"{self.name} does not listen yet")
        return listening[1]

    async def ended(self) -> int:
        """Its exit status, after it ends by itself or by a signal."""
        deadline = Deadline(WAIT_SECONDS)
        while (status := self.status) is None:
            assert not deadline.passed, f"{self.name} is still running.\n{tail(self.log)}"
            await asyncio.sleep(_POLL_SECONDS)
        return status


@dataclass(slots=True)
class Processes:
    """Starts workers, and ends the remaining ones when it is closed.

    Attributes:
        environment: settings of every worker.
        folder: where their logs are.
    """

    environment: Mapping[str, str]
    folder: Path
    workers: list[Worker] = field(default_factory=list)
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def start(self, role: Role, *faults: Fault | None, **settings: str) -> Worker:
        """Start a worker from a fork server, which spares it the imports; with a fault, it will end by itself."""
        name, log = self._name(role)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_IMPORTED_ONCE)
        arguments = (role, {**self.environment, **settings}, str(log), [fault for fault in faults if fault])
        process = context.Process(target=run_worker, args=arguments, name=name, daemon=True)
        process.start()
        return self._started(Worker(name, log, process))

    def command(self, role: Role, *arguments: str, **settings: str) -> Worker:
        """Start a worker as users do, by default with ``extents worker``."""
        name, log = self._name(role)
        commands = Path(sys.executable).parent
        program: Sequence[str] = arguments or ("extents", "worker", role)
        with log.open("ab") as file:
            process = subprocess.Popen(
                [str(commands / program[0]), *program[1:]],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                cwd=self.folder,
                env={**os.environ, **self.environment, **settings},
                preexec_fn=die_with_parent,
            )
        return self._started(Worker(name, log, process))

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()
            worker.process.wait() if isinstance(worker.process, subprocess.Popen) else worker.process.join()

    def tails(self) -> str:
        """The ends of all logs, for the message of a failure."""
        return "\n".join(f"{worker.name}, status {worker.status}: {tail(worker.log)}" for worker in self.workers[-4:])

    def _name(self, role: Role) -> tuple[str, Path]:
        name = f"{role}-{next(self._numbers)}"
        return name, self.folder / f"{name}.log"

    def _started(self, worker: Worker) -> Worker:
        self.workers.append(worker)
        return worker
