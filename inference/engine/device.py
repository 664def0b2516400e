"""Chooses the device, and describes it and its software for a run's provenance."""

import functools
import platform
import re
from collections.abc import Callable
from typing import Final

import torch

from core.errors import ConfigurationError
from inference.engine.processor import NVIDIA_DRIVER, processor_model

SMALLEST_DRIVERS: Final = {"12": "525.60.13", "13": "580.65.06"}
"""For Linux, by CUDA's major version: all its minor versions run on it (CUDA's release notes, "minor version compatibility")."""


def pick_device() -> str:
    """Return ``cuda`` if this PyTorch can use a CUDA device, otherwise ``cpu``."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def choose_device(wanted: str) -> str:
    """Return the device for a setting; ``auto`` picks the best one available.

    Raises:
        ConfigurationError: the setting is ``cuda``, and there is no CUDA device.
    """
    available = pick_device()
    if wanted == "cuda" and available != "cuda":
        raise ConfigurationError(
            f"EXTENTS_DEVICE is cuda, and torch {torch.__version__} finds no CUDA device. {driver_advice()} Give this"
            " container access to the GPU, or set EXTENTS_DEVICE to auto or cpu"
        )
    return available if wanted == "auto" else wanted


def driver_advice() -> str:
    """Say which NVIDIA driver this PyTorch needs, and which one runs here."""
    needed = SMALLEST_DRIVERS.get((torch.version.cuda or "").partition(".")[0])
    if needed is None:
        return "This build of torch is for CPUs only: install a CUDA build."
    return f"Its CUDA {torch.version.cuda} needs an NVIDIA driver of at least {needed}; found: {_driver_version()}."


def compute_reproducibly(device: torch.device) -> None:
    """Make a GPU's results reproducible between starts, in the requested precision. Applies to the whole process."""
    if device.type == "cuda":
        # TF32 keeps 10 of float32's 23 bits; algorithms chosen by timing could differ between starts.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True


def memory_gauges(device: str) -> dict[str, Callable[[], float]]:
    """Return gauges of the device's memory in bytes: ``used`` and ``peak`` by this process, ``total``. All are 0 for a CPU."""
    if torch.device(device).type != "cuda":
        return {kind: lambda: 0.0 for kind in ("used", "peak", "total")}
    total = float(torch.cuda.get_device_properties(device).total_memory)
    return {
        "used": lambda: float(torch.cuda.memory_reserved(device)),
        "peak": lambda: float(torch.cuda.max_memory_reserved(device)),
        "total": lambda: total,
    }


@functools.cache
def describe_device(device: str) -> str:
    """Return the device's model and size, such as ``NVIDIA A10G, 22 GiB`` or ``AMD EPYC 9R14, 2 threads``."""
    if torch.device(device).type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
    return f"{processor_model()}, {torch.get_num_threads()} threads"


@functools.cache
def software_versions(device: str) -> dict[str, str]:
    """Return the versions on which a result's last bits depend, by name; those of the GPU only if it is used."""
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    if torch.device(device).type == "cuda":
        versions["cuda"] = torch.version.cuda or "unknown"
        versions["cudnn"] = str(torch.backends.cudnn.version())  # type: ignore[no-untyped-call]  # torch has no types for it
        versions["driver"] = _driver_version()
    return versions


def _driver_version() -> str:
    """Read the version from the kernel module, which needs no NVIDIA tool in the image."""
    match = re.search(r"Kernel Module.*?\s(\d+\.\d+(?:\.\d+)?)\s", NVIDIA_DRIVER.read_text()) if NVIDIA_DRIVER.exists() else None
    return match.group(1) if match else "unknown"
