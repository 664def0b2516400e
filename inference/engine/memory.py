"""Running out of memory, as the errors of PyTorch and Python tell it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

from core.errors import TransientError

_SHORTAGES: Final = (
    "can't allocate memory",  # by PyTorch of a CPU's memory, for which it has no class of its own
    "CUDA error: out of memory",  # by the driver, of pinned memory too
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)


def is_shortage(error: BaseException) -> bool:
    """Whether an error says that memory has run out, the host's or a device's."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(message in str(error) for message in _SHORTAGES)


@contextmanager
def memory_for(what: str) -> Iterator[None]:
    """Raises: TransientError: there was not enough memory for ``what``. Later there may be, or on another machine."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_shortage(error):
            raise
        raise TransientError(f"out of memory with {what}: {error}") from error
