"""Checks a checkpoint's entries against those that a network needs; the same for every architecture."""

from collections.abc import Mapping
from typing import Final

import torch

from core.errors import CheckpointError

_NAMES_SHOWN: Final = 5


def check_entries(expected: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor]) -> None:
    """Compare names and shapes, and check that all values are finite.

    Args:
        expected: the network's own state; only shapes are read, so that it may be on the device ``meta``.
        state: the checkpoint's.

    Raises:
        CheckpointError: an entry is missing, unexpected, of another shape or not finite; the message names it.
    """
    _check_names(sorted(expected.keys() - state.keys()), "missing", len(expected))
    _check_names(sorted(state.keys() - expected.keys()), "not part of the architecture", len(expected))
    for name, entry in expected.items():
        if state[name].shape != entry.shape:
            raise CheckpointError(f"entry {name}: shape {tuple(state[name].shape)}, expected {tuple(entry.shape)}")
        if not torch.isfinite(state[name]).all():
            raise CheckpointError(f"entry {name}: holds NaN or infinity; the file is damaged or its training diverged")


def _check_names(names: list[str], problem: str, expected: int) -> None:
    if names:
        shown = ", ".join(names[:_NAMES_SHOWN]) + (f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else "")
        raise CheckpointError(f"entry {shown}: {problem}; the architecture has {expected} entries")
