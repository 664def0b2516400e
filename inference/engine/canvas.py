"""Resizes strips to a network's canvas with NumPy, as torch's antialiased bilinear ``interpolate`` does."""

import functools

import numpy as np
import numpy.typing as npt

from inference.arrays import Frames

Canvases = npt.NDArray[np.float32]  # (n, 3, height, width) in -1..1


def to_canvases(strips: Frames, height: int, width: int) -> Canvases:
    """Strips (n, any height, any width, 3) to canvases (n, 3, height, width) in -1..1."""
    count, rows, columns = strips.shape[:3]
    if (rows, columns) == (height, width):
        canvases: Canvases = strips.transpose(0, 3, 1, 2).astype(np.float32, order="C")
    else:  # two large products: many small ones, one for each strip, take ten times as long
        levels = strips.transpose(1, 0, 3, 2).astype(np.float32, order="C").reshape(rows, -1)  # (rows, count * 3 * columns)
        lower = (_weights(rows, height) @ levels).reshape(-1, columns)  # (height * count * 3, columns)
        resized = (lower @ _weights(columns, width).T).reshape(height, count, 3, width)
        canvases = np.ascontiguousarray(resized.transpose(1, 2, 0, 3), np.float32)
    canvases *= 1 / 127.5
    canvases -= 1
    return canvases


@functools.lru_cache(maxsize=8)
def _weights(size: int, resized: int) -> npt.NDArray[np.float32]:
    """Return the weight of each input pixel in each output pixel, (resized, size): a triangle, wider when shrinking."""
    scale = size / resized
    centers = (np.arange(resized) + 0.5) * scale
    distances = np.abs(np.arange(size) + 0.5 - centers[:, None]) / max(scale, 1.0)
    weights = np.maximum(0.0, 1.0 - distances)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)
