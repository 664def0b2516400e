"""Boxes behind captions: one per caption, or one that stays while captions change and may come and go independently."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from training.synthetic.kinds import Recipe
from training.synthetic.lettering import Colour, Lettering, Mask, lay
from training.synthetic.timeline import Caption

_GREYS: Final = ((0, 40), (60, 130), (190, 250))  # dark, middling, and the light ones of the news
_GREY_SHARES: Final = (0.65, 0.15, 0.2)
_COLOURED_SHARE: Final = 0.15


@dataclass(frozen=True, slots=True)
class Boxes:
    """Attributes:
    bar: the box that stays, from frame ``comes`` to ``goes`` - 1; None if there is none.
    pad: how far a caption's own box extends beyond its letters to both sides, in pixels; None if captions have no box.
    pad_rows: the same above and below; None for boxes as high as the strip.
    """

    colour: Colour
    opacity: float
    bar: Mask | None
    comes: int
    goes: int
    pad: int | None
    pad_rows: int | None

    def put(self, pictures: npt.NDArray[np.float32], captions: list[Caption], letterings: list[Lettering]) -> None:
        """Paint the boxes into the pictures (n, height, width, 3), in place."""
        n, height, width = pictures.shape[:3]
        if self.bar is not None:
            for t in range(self.comes, self.goes):
                lay(pictures[t], self.bar, self.colour, self.opacity)
        if self.pad is not None:
            for caption, lettering in zip(captions, letterings, strict=True):
                mask: Mask = np.zeros((height, width), np.float32)
                mask[self._rows(lettering), max(0, lettering.left - self.pad) : lettering.right + self.pad] = 1
                for t in caption.frames(n):
                    lay(pictures[t], mask, self.colour, self.opacity * caption.visibility(t))

    def _rows(self, lettering: Lettering) -> slice:
        written = np.flatnonzero(lettering.cover.any(1))
        if self.pad_rows is None or not len(written):
            return slice(None)
        return slice(max(0, int(written[0]) - self.pad_rows), int(written[-1]) + 1 + self.pad_rows)


def draw_boxes(rng: np.random.Generator, recipe: Recipe, width: int, height: int, n: int, line_height: float) -> Boxes:
    """Pick boxes at random. In a strip far taller than ``line_height`` a caption's own box never has the strip's height."""
    grey = float(rng.uniform(*_GREYS[int(rng.choice(len(_GREYS), p=_GREY_SHARES))]))
    colour: Colour = (grey, grey, min(255.0, grey + rng.uniform(0, 30)))
    if rng.random() < _COLOURED_SHARE:
        red, green, blue = rng.uniform(0, 255, 3)
        colour = (float(red), float(green), float(blue))
    opacity = min(1.0, rng.uniform(0.45, 1.3))
    if rng.random() < recipe.standing_bar:
        bar: Mask = np.zeros((height, width), np.float32)
        inset = int(rng.uniform(0, 0.35) * width)
        bar[int(rng.uniform(0, 0.12) * height) : int(rng.uniform(0.88, 1.0) * height), inset : width - inset] = 1
        comes, goes = (0, n) if rng.random() < 0.6 else sorted(int(t) for t in rng.integers(0, n, 2))
        return Boxes(colour, opacity, bar, comes, goes, None, None)
    pad = int(rng.uniform(0.1, 0.4) * line_height) if rng.random() < recipe.own_box else None
    pad_rows = int(rng.uniform(0.03, 0.2) * line_height) if rng.random() < 0.6 or line_height < height else None
    return Boxes(colour, opacity, None, 0, 0, pad, pad_rows)
