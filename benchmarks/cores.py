"""Assigns processor cores: contenders share the same ones, and the servers that they use run on the others."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch


@dataclass(frozen=True, slots=True)
class Cores:
    """Numbers of processor cores. Both sets are the same if there is only one core."""

    computing: frozenset[int]
    serving: frozenset[int]

    @classmethod
    def halves(cls) -> Self:
        """Give each side half of the cores that this process may use."""
        cores = sorted(os.sched_getaffinity(0))
        half = len(cores) // 2
        return cls(frozenset(cores[half:]), frozenset(cores[:half] or cores))


@contextmanager
def held_to(cores: frozenset[int]) -> Iterator[None]:
    """Run this process, and those that it starts in this block, on these cores, with one PyTorch thread per core."""
    allowed, threads = os.sched_getaffinity(0), torch.get_num_threads()
    pin(os.getpid(), cores)
    torch.set_num_threads(len(cores))
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        pin(os.getpid(), allowed)


def pin(pid: int, cores: frozenset[int] | set[int]) -> None:
    """Move all threads of a running process to these cores. Threads that they start later stay there."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), cores)
