"""Device and versions are described as text for the run database."""

from pathlib import Path

import pytest
import torch

from core.errors import ConfigurationError
from inference.engine import device
from inference.engine.device import choose_device, describe_device, pick_device, software_versions
from inference.engine.processor import cpu_has_bfloat16


def test_the_cpu_is_described_by_its_model_and_threads() -> None:
    """The CPU's description ends with the number of compute threads, and the versions name PyTorch's build."""
    assert describe_device("cpu").endswith(f", {torch.get_num_threads()} threads")
    assert software_versions("cpu")["torch"] == torch.__version__


def test_cuda_is_picked_where_there_is_one() -> None:
    """CUDA is picked if PyTorch can use it."""
    assert pick_device() == ("cuda" if torch.cuda.is_available() else "cpu")


def test_a_device_that_is_wanted_and_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """``cuda`` without a CUDA device is an error, never a silent fallback to the CPU; ``auto`` takes what is available."""
    monkeypatch.setattr("inference.engine.device.pick_device", lambda: "cpu")
    assert (choose_device("auto"), choose_device("cpu")) == ("cpu", "cpu")
    with pytest.raises(ConfigurationError, match=r"EXTENTS_DEVICE is cuda, and torch .* finds no CUDA device"):
        choose_device("cuda")
    monkeypatch.setattr("inference.engine.device.pick_device", lambda: "cuda")
    assert (choose_device("auto"), choose_device("cpu"), choose_device("cuda")) == ("cuda", "cpu", "cuda")


@pytest.mark.parametrize(
    ("cpuinfo", "has"),
    [
        ("model name\t: one\nflags\t\t: fpu avx512f avx512_bf16 sha\n", True),
        ("flags\t\t: fpu amx_bf16\n", True),
        ("flags\t\t: fpu avx2 avx512_bf16_not\nbugs\t\t: amx_bf16\n", False),
        ("Features\t: fp asimd bf16\n", False),
    ],
)
def test_bfloat16_is_told_by_the_processors_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cpuinfo: str, has: bool) -> None:
    """Only whole flags on the flags line count, and a missing list counts as none."""
    monkeypatch.setattr("inference.engine.processor.CPUINFO", tmp_path / "cpuinfo")
    assert not cpu_has_bfloat16.__wrapped__()
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    assert cpu_has_bfloat16.__wrapped__() is has


@pytest.mark.gpu
def test_a_gpu_is_described_by_its_name_and_memory() -> None:
    """A GPU is described by its name, and the versions name CUDA, cuDNN and the driver."""
    assert describe_device("cuda").startswith(torch.cuda.get_device_name())
    assert {"cuda", "cudnn", "driver"} <= software_versions("cuda").keys()


def test_the_driver_that_is_needed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The error gives the driver found and the one that torch needs; a CPU-only build gets the advice to install a CUDA build."""
    version = tmp_path / "version"
    version.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\n")
    monkeypatch.setattr(device, "NVIDIA_DRIVER", version)
    monkeypatch.setattr(torch.version, "cuda", "13.2")
    monkeypatch.setattr(device, "pick_device", lambda: "cpu")
    with pytest.raises(ConfigurationError, match=r"CUDA 13\.2 needs an NVIDIA driver of at least 580\.65\.06; found: 535\.104\.05"):
        device.choose_device("cuda")
    monkeypatch.setattr(torch.version, "cuda", None)
    assert "install a CUDA build" in device.driver_advice()
