"""Runs a worker in this process with a fault: at a chosen call it kills itself, raises an error, or pauses.

The service itself has no hooks for this; the call is found by its name.
"""

import asyncio
import importlib
import inspect
import itertools
import multiprocessing
import multiprocessing.connection
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from cli.service.worker import command
from devstack.part import die_with_parent

PAUSE_SECONDS: Final = 2.0
HANG_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Fault:
    """The ``nth`` call of ``target`` whose arguments contain every text of ``having``.

    Attributes:
        target: ``module:function`` or ``module:Class.method``, by the name under which its callers find it.
        when: before the call begins, or after it has returned.
        how: SIGKILL, SIGSTOP, an unexpected exception, a call that never returns, or a coroutine that is not run; or from then on,
            at every such call, the same exception (fail), a pause in seconds, or an out-of-memory error.
        since: count calls only from the moment at which this fault would strike.
    """

    target: str
    when: Literal["before", "after"]
    having: tuple[str, ...] = ()
    nth: int = 1
    how: Literal["kill", "stop", "raise", "hang", "lose", "fail", "pause", "starve"] = "kill"
    since: "Fault | None" = None

    def __str__(self) -> str:
        called = " ".join((self.target.replace(":", ".").rpartition(".")[2], *self.having))
        return f"{self.when} {called}" + (f" {self.nth}" if self.nth > 1 else "") + (f", once {self.since}" if self.since else "")


def run_worker(role: str, environment: dict[str, str], log: str, faults: Sequence[Fault]) -> None:
    """The body of a process: ``extents worker``, writing to ``log``."""
    die_with_parent()
    threading.Thread(target=_die_with_tests, name="leash", daemon=True).start()
    os.environ.update(environment)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    for fault in faults:
        install(fault)
    command.main([role], prog_name="extents worker")


def _die_with_tests() -> None:
    """End this process with the tests. Its parent is the fork server, which lives until its last worker has gone."""
    tests = multiprocessing.parent_process()
    assert tests is not None
    multiprocessing.connection.wait([tests.sentinel])
    os._exit(1)


def install(fault: Fault) -> None:
    """End this process at the call that the fault names."""
    counting = threading.Event()
    if fault.since is None:
        counting.set()
    else:
        _wrap(fault.since, lambda: True, lambda: _set(counting))
    _wrap(fault, counting.is_set, lambda: _strike(fault))


def _wrap(fault: Fault, counting: Callable[[], bool], strike: Callable[[], float]) -> None:
    module, _, path = fault.target.partition(":")
    *owners, name = path.split(".")
    owner: Any = importlib.import_module(module)
    for part in owners:
        owner = getattr(owner, part)
    setattr(owner, name, _wrapped(getattr(owner, name), fault, counting, strike))


def _wrapped(original: Callable[..., Any], fault: Fault, counting: Callable[[], bool], strike: Callable[[], float]) -> Callable[..., Any]:
    calls = itertools.count(1)

    def is_it(arguments: tuple[Any, ...]) -> bool:
        if not counting():
            return False
        shown = repr(
            (arguments, [getattr(argument, "message", None) for argument in arguments])
        )  # a change on its way to a changelog shows nothing
        if not all(text in shown for text in fault.having):
            return False
        number = next(calls)
        return number == fault.nth or (fault.how in ("fail", "pause", "starve") and number > fault.nth)

    async def called(*args: Any, **kwargs: Any) -> Any:
        reached = is_it((*args, kwargs))
        if reached and fault.how == "lose":
            return None
        if reached and fault.when == "before" and (seconds := strike()):
            await asyncio.sleep(seconds)
        result = await original(*args, **kwargs)
        if reached and fault.when == "after" and (seconds := strike()):
            await asyncio.sleep(seconds)
        return result

    def called_at_once(*args: Any, **kwargs: Any) -> Any:
        reached = is_it((*args, kwargs))
        if reached and fault.when == "before":
            time.sleep(strike())
        result = original(*args, **kwargs)
        if reached and fault.when == "after":
            time.sleep(strike())
        return result

    return called if inspect.iscoroutinefunction(original) else called_at_once


def _set(counting: threading.Event) -> float:
    counting.set()
    return 0.0


def _strike(fault: Fault) -> float:
    """Do what the fault says. Return the seconds to pause."""
    if fault.how in ("raise", "fail"):
        raise RuntimeError(f"made to fail {fault}")
    if fault.how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault.how == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
        return 0.0
    if fault.how == "starve":
        _starve()
    return HANG_SECONDS if fault.how == "hang" else PAUSE_SECONDS


def _starve() -> None:
    """Raise the error that a process gets when memory runs out."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize(), hard))
    try:
        bytearray(2**32)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
