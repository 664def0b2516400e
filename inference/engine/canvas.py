"""Resizes strips to a network's canvas with NumPy, as torch's antialiased bilinear ``interpolate`` does."""

import functools

import numpy as np
import numpy.typing as npt

from inference.arrays import Frames

Canvases = npt.NDArray[np.float32]  # (n, 3, height, width) in -1..1


def to_canvases(strips: Frames, height: int, width: int) -> Canvases:
    """Strips (n, any height, any width, 3) to canvases (n, 3, height, width) in -1..1."""
    planes: Canvases = strips.transpose(0, 3, 1, 2).astype(np.float32, order="C")
    if planes.shape[2:] != (height, width):
        rows, columns = _weights(planes.shape[2], height), _weights(planes.shape[3], width)
        planes = np.asarray(rows @ planes @ columns.T, np.float32)
    planes *= 1 / 127.5
    planes -= 1
    return planes


@functools.lru_cache(maxsize=8)
def _weights(size: int, resized: int) -> npt.NDArray[np.float32]:
    """Return the weight of each input pixel in each output pixel, (resized, size): a triangle, wider when shrinking."""
    scale = size / resized
    centers = (np.arange(resized) + 0.5) * scale
    distances = np.abs(np.arange(size) + 0.5 - centers[:, None]) / max(scale, 1.0)
    weights = np.maximum(0.0, 1.0 - distances)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)
