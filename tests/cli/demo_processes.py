"""Finds the processes and the folders that a demo leaves."""

import time
from pathlib import Path

import psutil

from devstack.paths import STACKS
from tests.patience import Deadline

MARK = "EXTENTS_TEST_DEMO"
"""A variable that every process of a demo inherits, so that the test can find them."""


def left_over(mark: str) -> list[psutil.Process]:
    processes = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                processes.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            pass
    return processes


def wait_until_gone(mark: str) -> None:
    deadline = Deadline(60)
    while left := left_over(mark):
        assert not deadline.passed, f"still running: {left}"
        time.sleep(0.2)


def stack_folders() -> set[Path]:
    return set(STACKS.glob("demo-*"))
