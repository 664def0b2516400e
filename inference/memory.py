"""Running out of memory, as the errors of PyTorch and Python tell it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from core.errors import TransientError


@contextmanager
def memory_for(what: str) -> Iterator[None]:
    """Raises: TransientError: there was not enough memory for ``what``. Later there may be, or on another machine."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise TransientError(f"out of memory with {what}: {error}") from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):  # what PyTorch says of a CPU's; it has no class of its own
            raise
        raise TransientError(f"out of memory with {what}: {error}") from error
