"""One server process of the stack: starts it, waits until it is ready, kills it or stops it. Owned by one event loop."""

import asyncio
import ctypes
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

STALLED_SECONDS: Final = 120.0
"""Starting a part has no time limit, because that would only measure how busy the machine is. A part that has neither used the
processor nor written to its log for this long is stuck."""

REPORT_SECONDS: Final = 10.0
"""How often a wait says what it is waiting for."""

_POLL_SECONDS: Final = 0.1
_CHECK_SECONDS: Final = 5.0  # a check may hang on a server that accepts connections but does not respond yet; each timeout doubles it
_LONGEST_CHECK_SECONDS: Final = 60.0
_TAIL_LINES: Final = 25
_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h

_libc = ctypes.CDLL(None, use_errno=True)


Progress = Callable[[str], None]


class PartFailedError(Exception):
    """A part did not start; the message contains the end of its log."""


@dataclass(slots=True)
class Part:
    """A server, and how to check that it works.

    The process dies with its parent, whatever kills the parent (Linux's parent-death signal).

    Attributes:
        check: raises any exception until the server does its job.
        environment: added to this process's own environment.
        stop_signal: asks for a clean shutdown.
        stop_seconds: time limit of a clean shutdown, after which the process is killed.
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

    async def start(self, progress: Progress | None = None) -> float:
        """Start the process and wait until its check passes. Returns how many seconds that took.

        The wait lasts as long as the process lives and makes progress.

        Args:
            progress: called every ``REPORT_SECONDS`` with the reason for waiting, in a few words; the whole one goes to the log.

        Raises:
            PartFailedError: the process ended, or is stuck.
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
        await self._wait_until_ready(began, progress)
        return time.monotonic() - began

    async def _wait_until_ready(self, began: float, progress: Progress | None) -> None:
        assert self.process is not None
        activity, active_at, reported_at = self._activity(), began, began
        check_seconds = _CHECK_SECONDS
        while True:
            if self.process.returncode is not None:
                raise PartFailedError(f"{self.name} ended with status {self.process.returncode} while starting.\n{self.tail()}")
            try:
                async with asyncio.timeout(check_seconds):  # wait_for would drop a cancellation that arrives as the check fails
                    await self.check()
                return
            except TimeoutError:
                problem = plain = f"no response within {check_seconds:.0f} s"
                check_seconds = min(2 * check_seconds, _LONGEST_CHECK_SECONDS)
            except Exception as error:  # a starting server can fail in any way
                problem = str(error) or type(error).__name__
                plain = "it accepts no connections yet" if isinstance(error, OSError) else "it is not ready yet"
            now = time.monotonic()
            if (latest := self._activity()) != activity:
                activity, active_at = latest, now
            elif now - active_at > STALLED_SECONDS:
                raise PartFailedError(
                    f"{self.name} is stuck: after {now - began:.0f} s it is not ready ({problem}), and for {STALLED_SECONDS:.0f} s "
                    f"it has neither used the processor nor written to its log.\n{self.tail()}"
                )
            if progress is not None and now - reported_at > REPORT_SECONDS:
                reported_at = now
                progress(f"waiting for {self.name}, {now - began:.0f} s so far: {plain}")
                with self.log.open("a") as log:
                    log.write(f"extents: not ready after {now - began:.0f} s: {problem}\n")
                activity = self._activity()  # the line above is not the server's
            await asyncio.sleep(_POLL_SECONDS)

    def _activity(self) -> tuple[str, int]:
        """Changes while the process works: its processor time (user and system, in ticks) and the size of its log."""
        assert self.process is not None
        try:
            # proc(5): utime and stime are fields 14 and 15; the second, the name in parentheses, may contain spaces.
            ticks = " ".join(Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[11:13])
        except (FileNotFoundError, ProcessLookupError):
            ticks = ""
        return ticks, self.log.stat().st_size

    async def kill(self) -> None:
        """Send SIGKILL and wait until the process is gone."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """Ask the process to stop, and kill it after ``stop_seconds``."""
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
    """Have the kernel kill this process when its parent ends. Called between fork and exec."""
    if _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")


async def run_once(name: str, command: Sequence[str], folder: Path) -> None:
    """Run a command that prepares a part, with its output in that part's log.

    Raises:
        PartFailedError: its exit status is not 0.
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
