"""What was compiled once is kept: the next start takes seconds, not a minute."""

import os
from pathlib import Path


def keep_compiled(folder: Path) -> None:
    """Have ``torch.compile`` keep its results in ``folder``; before the first compilation of the process.

    A folder named by PyTorch's own variable, ``TORCHINDUCTOR_CACHE_DIR``, stays in force.
    """
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder.expanduser()))
