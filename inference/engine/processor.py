"""The processor of this machine, and whether it has an NVIDIA GPU beside it. Does not import torch."""

import functools
import os
import platform
import re
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")

NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
"""Exists if NVIDIA's kernel module is loaded, and names its version."""


def usable_cores() -> int:
    """Count the processor's threads that this process may use; a container is often given fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor_model() -> str:
    """Return the processor's name, such as ``AMD EPYC 9R14``."""
    match = re.search(r"^model name\s*:\s*(.+)$", CPUINFO.read_text(), re.MULTILINE) if CPUINFO.exists() else None
    return match.group(1).strip() if match else platform.processor() or platform.machine()


@functools.cache
def cpu_has_bfloat16() -> bool:
    """Whether the processor has bfloat16 instructions. Others emulate them, at a third of float32's speed."""
    match = re.search(r"^flags\s*:\s*(.+)$", CPUINFO.read_text(), re.MULTILINE) if CPUINFO.exists() else None
    return match is not None and not {"avx512_bf16", "amx_bf16"}.isdisjoint(match.group(1).split())
