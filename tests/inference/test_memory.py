"""An out-of-memory error is transient, whichever library raises it."""

import av
import numpy as np
import pytest
import torch

from core.errors import TransientError
from inference.engine.memory import memory_for
from inference.media.decode import decode_frames

FAR_TOO_MANY = 2**50


def of_torch() -> None:
    torch.empty(FAR_TOO_MANY, dtype=torch.uint8)


def of_numpy() -> None:
    np.empty(FAR_TOO_MANY, np.uint8)


def of_a_device() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory")


def of_a_driver() -> None:
    raise RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported")


def of_a_library() -> None:
    raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")


def of_ffmpeg() -> None:
    def short(*_: object, **__: object) -> None:
        raise av.error.MemoryError(12, "Cannot allocate memory")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("av.open", short)
        next(decode_frames("chunk", b"", 1))


@pytest.mark.parametrize("allocate", [of_torch, of_numpy, of_a_device, of_a_driver, of_a_library, of_ffmpeg])
def test_running_out_of_memory_is_transient(allocate) -> None:
    """An out-of-memory error of PyTorch, a device, its libraries, NumPy or FFmpeg is transient and says what needed the memory."""
    with pytest.raises(TransientError, match="out of memory with span 7: "), memory_for("span 7"):
        allocate()


def test_other_errors_pass_unchanged() -> None:
    """An error that is not about memory passes unchanged."""
    with pytest.raises(RuntimeError, match="shapes do not match"), memory_for("span 7"):
        raise RuntimeError("shapes do not match")
