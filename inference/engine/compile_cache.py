"""Keeps compiled networks on disk, so that the next start takes seconds instead of a minute."""

import os
from pathlib import Path


def keep_compiled(folder: Path) -> None:
    """Have ``torch.compile`` cache its results in ``folder``. Call it before the process compiles anything.

    A folder set by PyTorch's own variable, ``TORCHINDUCTOR_CACHE_DIR``, takes precedence.
    """
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder.expanduser()))
