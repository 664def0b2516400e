"""One server process of the stack: started, waited for, killed, stopped. Owned by one event loop."""

import asyncio
import ctypes
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

READY_SECONDS: Final = 60.0
"""Any part is up in a few seconds; a machine busy with other things gets ten times that."""

_POLL_SECONDS: Final = 0.1
_CHECK_SECONDS: Final = 5.0  # one check may hang on a server that accepts connections but does not answer yet
_TAIL_LINES: Final = 25
_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h

_libc = ctypes.CDLL(None, use_errno=True)


class PartFailedError(Exception):
    """A part did not start; the message holds the end of its log."""


@dataclass(slots=True)
class Part:
    """A server and how to tell that it works.

    The process dies with the one that started it, whatever kills that (Linux's parent-death signal).

    Attributes:
        check: raises whatever it likes until the server does what it is for.
        environment: added to this process's own.
        stop_signal: what makes it end in good order.
        stop_seconds: how long that may take before it is killed.
    """

    name: str
    command: Sequence[str]
    folder: Path
    check: Callable[[], Awaitable[None]]
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 15.0
    process: asyncio.subprocess.Process | None = None

    @property
    def log(self) -> Path:
        return log_path(self.folder, self.name)

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.returncode is None

    async def start(self) -> float:
        """Start the process and wait until its check passes. Returns the seconds that took.

        Raises:
            PartFailedError: it ended, or its check did not pass within ``READY_SECONDS``.
        """
        if self.running:
            return 0.0
        began = time.monotonic()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={**os.environ, **self.environment},
                preexec_fn=die_with_parent,
            )
        await self._wait_ready(began)
        return time.monotonic() - began

    async def _wait_ready(self, began: float) -> None:
        assert self.process is not None
        last_error: BaseException | None = None
        while time.monotonic() - began < READY_SECONDS:
            if self.process.returncode is not None:
                raise PartFailedError(f"{self.name} ended with status {self.process.returncode} while starting.\n{self.tail()}")
            try:
                await asyncio.wait_for(self.check(), _CHECK_SECONDS)
            except Exception as error:  # a server that is coming up fails in every way there is
                last_error = error
                await asyncio.sleep(_POLL_SECONDS)
            else:
                return
        raise PartFailedError(f"{self.name} is not ready after {READY_SECONDS:.0f} s; its check says: {last_error!r}\n{self.tail()}")

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """Ask it to end, and kill it when it has not after ``stop_seconds``."""
        await self._end(self.stop_signal)

    def signal(self, number: int) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(number)

    async def _end(self, number: int) -> None:
        if self.process is None:
            return
        self.signal(number)
        try:
            await asyncio.wait_for(self.process.wait(), self.stop_seconds)
        except TimeoutError:
            self.signal(signal.SIGKILL)
            await self.process.wait()

    def tail(self) -> str:
        return tail(self.log)


def die_with_parent() -> None:
    """Between fork and exec: have the kernel kill this process when the one that started it ends."""
    if _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")


async def run_once(name: str, command: Sequence[str], folder: Path) -> None:
    """Run a command that prepares a part, into that part's log.

    Raises:
        PartFailedError: its status is not 0.
    """
    log = log_path(folder, name)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=file, stderr=file, cwd=folder, preexec_fn=die_with_parent
        )
        status = await process.wait()
    if status != 0:
        raise PartFailedError(f"preparing {name}: {Path(command[0]).name} ended with status {status}.\n{tail(log)}")


def log_path(folder: Path, name: str) -> Path:
    return folder / "logs" / f"{name}.log"


def tail(log: Path, lines: int = _TAIL_LINES) -> str:
    """The end of a log, headed by its path."""
    try:
        text = log.read_text(errors="replace")
    except FileNotFoundError:
        return f"({log} was never written)"
    return f"the end of {log}:\n" + "\n".join(f"  {line}" for line in text.splitlines()[-lines:])
