"""Runs a command in a process of its own, and measures what it takes."""

import os
import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

_POLL_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Measured:
    """A finished process: seconds by the clock and of processor time, largest memory, and what it printed."""

    seconds: float
    cpu_seconds: float
    peak_mib: float
    output: bytes


def measure_process(command: Sequence[str]) -> Measured:
    """Run a command and measure it.

    Raises:
        CalledProcessError: its exit status is not zero.
    """
    with TemporaryFile() as output:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=output)
        peak, ended = 0.0, 0
        while not ended:
            peak = max(peak, _peak_mib(process.pid))
            time.sleep(_POLL_SECONDS)
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
        output.seek(0)
        return Measured(seconds, usage.ru_utime + usage.ru_stime, peak, output.read())


def _peak_mib(pid: int) -> float:
    """The largest memory of a process until now; its final resource usage also counts that of the process it was forked from."""
    match = re.search(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(match[1]) / 1024 if match else 0.0
