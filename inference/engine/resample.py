"""Pillow's Lanczos resize as two matrix products on any device, with bit-identical results.

Identical to Pillow before 13, and to later versions for images up to twice as high as wide; for higher ones they resize columns first.

Pillow (``Resample.c``) turns each weight into a fixed-point integer of 22 bits after the point, sums along rows, rounds
to 8 bits, then does the same along columns. Here each weight is split into a high and a low part of 11 bits, so that
every partial sum of a float32 product is an integer below 2**24 and therefore exact, in any order of summation. This
holds for up to 32 taps (strips up to 240 pixels high). With more, the sum of the low parts may be off in its last bit,
which rarely changes a pixel, and then by 1.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

LANCZOS_RADIUS: Final = 3
_PRECISION_BITS: Final = 22  # as in Pillow: 32 bits minus 8 for the pixel and 2 for weights outside 0..1
_LOW_BITS: Final = 11
_BLOCK_COLUMNS: Final = 64  # a column depends only on nearby ones, so blocks skip most of the product's zeros


class Resampler:
    """Resizes RGB images of one size to one height, computing only the columns [first, last) of the result.

    Immutable, tied to one device; safe to share between threads.
    """

    def __init__(self, size: tuple[int, int], resized: tuple[int, int], columns: tuple[int, int], device: torch.device | str) -> None:
        """Sizes are (height, width); ``columns`` is the half-open range of output columns to compute."""
        (height, width), (new_height, new_width) = size, resized
        self._rows = _split(lanczos_weights(height, new_height)).to(device)  # (2 * new_height, height)
        weights = lanczos_weights(width, new_width, range(*columns))  # (columns, width)
        self._blocks: list[tuple[slice, torch.Tensor]] = []  # input columns; (their number, 2 * columns of the block)
        for start in range(0, len(weights), _BLOCK_COLUMNS):
            block = weights[start : start + _BLOCK_COLUMNS]
            used = np.flatnonzero(block.any(axis=0))
            inputs = slice(int(used[0]), int(used[-1]) + 1)
            self._blocks.append((inputs, _split(block[:, inputs]).T.contiguous().to(device)))

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 (n, height, width, 3) to uint8 (n, 3, new_height, columns)."""
        pixels = images.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)  # (n, 3, height, width)
        across = torch.cat([_round(*(pixels[..., inputs] @ weights).chunk(2, dim=-1)) for inputs, weights in self._blocks], dim=-1)
        return _round(*(self._rows @ across).chunk(2, dim=-2)).to(torch.uint8)


def lanczos_weights(size: int, resized: int, wanted: Sequence[int] | None = None) -> npt.NDArray[np.int64]:
    """Pillow's fixed-point weights of each output pixel (or the wanted ones): int64 (outputs, size), in units of 2**-22."""
    wanted = range(resized) if wanted is None else wanted
    scale = size / resized
    stretch = max(scale, 1.0)  # when shrinking, the filter is widened so that every input pixel contributes
    support = LANCZOS_RADIUS * stretch
    weights = np.zeros((len(wanted), size), np.int64)
    for row, output in zip(weights, wanted, strict=True):
        center = (output + 0.5) * scale
        first = max(0, int(center - support + 0.5))
        last = min(size, int(center + support + 0.5))
        taps = [_lanczos((x - center + 0.5) / stretch) for x in range(first, last)]
        total = sum(taps)  # summed in Pillow's order, so that the quotients are rounded alike
        row[first:last] = [math.copysign(int(abs(tap / total) * 2**_PRECISION_BITS + 0.5), tap) for tap in taps]
    return weights


def _lanczos(x: float) -> float:
    return _sinc(x) * _sinc(x / LANCZOS_RADIUS) if -LANCZOS_RADIUS <= x < LANCZOS_RADIUS else 0.0


def _sinc(x: float) -> float:
    return math.sin(math.pi * x) / (math.pi * x) if x else 1.0


def _split(weights: npt.NDArray[np.int64]) -> torch.Tensor:
    """High parts above low parts: float32 (2 * outputs, inputs), weight = high * 2**11 + low with 0 <= low < 2**11."""
    high, low = weights >> _LOW_BITS, weights & (2**_LOW_BITS - 1)
    return torch.from_numpy(np.concatenate([high, low]).astype(np.float32))


def _round(high: torch.Tensor, low: torch.Tensor) -> torch.Tensor:
    """Join the two sums and round to 8 bits as Pillow does; float32, ready for the next product."""
    total = (high.to(torch.int32) << _LOW_BITS) + low.to(torch.int32) + 2 ** (_PRECISION_BITS - 1)
    rounded: torch.Tensor = total.bitwise_right_shift_(_PRECISION_BITS).clamp_(0, 255)
    return rounded.to(torch.float32)
