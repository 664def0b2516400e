"""Converts frames of any size to the network's input strip, 48 × 480, cropped or padded according to the text's alignment."""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from core.types import Anchor, Layout
from inference.engine.resample import Resampler

HEIGHT: Final = 48
WIDTH: Final = 480

Fit = Callable[[Tensor], Tensor]
"""uint8 (n, height, width, 3) RGB to uint8 (n, 3, 48, 480), on the images' device."""


def strip_columns(width: int, anchor: Anchor) -> npt.NDArray[np.int64]:
    """For each of the strip's 480 columns, the column of the resized image (``width`` wide) that it shows.

    A wider image is cropped, keeping the anchor's side. A narrower one is placed at the anchor's side, and the remaining
    space is filled with identical mirrored copies of it, of which the outermost is cut off.
    """
    spare = WIDTH - width
    before = {Anchor.LEFT: 0, Anchor.CENTER: spare // 2, Anchor.RIGHT: spare}[anchor]  # columns left of the image
    if spare < 0 and anchor is Anchor.CENTER:
        before = -((width - WIDTH) // 2)  # rounded so that an odd surplus column is cut on the right
    source = np.arange(WIDTH) - before
    if spare <= 0:
        return source
    mirrored_right = width - 1 - (source - width) % width
    mirrored_left = (-1 - source) % width
    return np.where(source >= width, mirrored_right, np.where(source < 0, mirrored_left, source))


def resized_width(height: int, width: int) -> int:
    return max(1, int(HEIGHT * width / height))


def fit_on_device(height: int, width: int, anchor: Anchor, device: torch.device) -> Fit:
    """Resize only the visible columns by matrix products, then crop and mirror with one gather."""
    resized = resized_width(height, width)
    columns = strip_columns(resized, anchor)
    first = int(columns.min())
    resample = Resampler((height, width), (HEIGHT, resized), (first, int(columns.max()) + 1), device)
    gather = None if len(np.unique(columns)) == WIDTH else torch.from_numpy(columns - first).to(device)

    def fit(images: Tensor) -> Tensor:
        strips = resample(images)
        return strips if gather is None else strips.index_select(-1, gather)

    return fit


def fit_with_pillow(height: int, width: int, anchor: Anchor, device: torch.device) -> Fit:
    """The same with Pillow on the CPU, strip by strip: a reference for tests and benchmarks."""
    resized = resized_width(height, width)
    columns = strip_columns(resized, anchor)

    def fit_one(image: Tensor) -> Tensor:
        pillow = Image.fromarray(image.numpy()).resize((resized, HEIGHT), Image.Resampling.LANCZOS)
        return torch.from_numpy(np.asarray(pillow)[:, columns].transpose(2, 0, 1))

    return lambda images: torch.stack([fit_one(image) for image in images.cpu()]).to(device)


def spatial_features(layout: Layout) -> list[float]:
    """Return the one-hot anchor (left, center, right), the crop's centre over the frame's sides, and its width over the frame's width."""
    anchor = [float(layout.anchor is side) for side in (Anchor.LEFT, Anchor.CENTER, Anchor.RIGHT)]
    if layout.frame_width <= 0 or layout.frame_height <= 0:
        return [*anchor, 0.5, 0.9, 0.5]  # training's default for an unknown frame: a wide caption at the bottom
    return [
        *anchor,
        (layout.crop_left + layout.crop_right) / 2 / layout.frame_width,
        (layout.crop_top + layout.crop_bottom) / 2 / layout.frame_height,
        (layout.crop_right - layout.crop_left) / layout.frame_width,
    ]
