"""Recognises the errors by which PyTorch and Python report that memory has run out."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

from core.errors import TransientError

_SHORTAGES: Final = (
    "can't allocate memory",  # PyTorch's message for host memory, for which it has no exception class
    "CUDA error: out of memory",  # the driver's message, also for pinned memory
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)


def is_shortage(error: BaseException) -> bool:
    """Whether an error reports that the host's or a device's memory has run out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(message in str(error) for message in _SHORTAGES)


@contextmanager
def memory_for(what: str) -> Iterator[None]:
    """Turn a lack of memory for ``what`` into a ``TransientError``: another attempt, or another machine, may succeed."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_shortage(error):
            raise
        raise TransientError(f"out of memory with {what}: {error}") from error
