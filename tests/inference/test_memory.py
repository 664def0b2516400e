"""Running out of memory is an error that may pass, whoever it is that says so."""

import numpy as np
import pytest
import torch

from core.errors import TransientError
from inference.memory import memory_for

FAR_TOO_MANY = 2**50


def of_torch() -> None:
    torch.empty(FAR_TOO_MANY, dtype=torch.uint8)


def of_numpy() -> None:
    np.empty(FAR_TOO_MANY, np.uint8)


def of_a_device() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize("allocate", [of_torch, of_numpy, of_a_device])
def test_running_out_of_memory_is_transient(allocate) -> None:
    """PyTorch on the CPU and on a device, and NumPy: each is told as what it was needed for."""
    with pytest.raises(TransientError, match="out of memory with span 7: "), memory_for("span 7"):
        allocate()


def test_other_errors_pass_unchanged() -> None:
    """An error that is not about memory is not taken for one."""
    with pytest.raises(RuntimeError, match="shapes do not match"), memory_for("span 7"):
        raise RuntimeError("shapes do not match")
