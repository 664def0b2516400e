"""Look of captions: colours, outlines, shadows, and words that change colour while the caption stays."""

from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from core.types import Anchor
from training.synthetic.fonts import Face
from training.synthetic.ground import Strips
from training.synthetic.lettering import BLACK, WHITE, Colour, Lettering, Style
from training.synthetic.timeline import Caption

# Yellow, cyan, green, grey and the like.
_BRIGHT: Final = ((250, 240, 60), (255, 220, 0), (90, 240, 240), (120, 250, 120), (210, 210, 210), (255, 170, 60))
_DARK: Final = (15, 15, 15)


def pick_style(rng: np.random.Generator, face: Face, ground: Strips, rows: int, *, thin: bool, faint: bool, plain: bool) -> Style:
    """Pick a style at random.

    Args:
        thin: light letters with little or no outline.
        faint: a colour close to the background's.
        plain: white with a black outline, which is readable on anything.
    """
    fill = WHITE if rng.random() < 0.55 else _any(rng, (*_BRIGHT, _DARK, _DARK))
    outline, shadow = rng.uniform(0.03, 0.09), 0.0
    if rng.random() < 0.25:
        outline, shadow = 0.0, rng.uniform(0.04, 0.1)
    if thin or faint or rng.random() < 0.12:
        outline = 0.0 if faint or rng.random() < 0.6 else rng.uniform(0.02, 0.04)
        shadow = 0.0
        if outline == 0.0:
            distance = rng.uniform(42, 75) if faint else rng.uniform(95, 170)
            fill = _apart(rng, float(ground.mean()), distance)
    if plain:
        fill, outline, shadow = WHITE, rng.uniform(0.04, 0.07), 0.0
    edge = BLACK if sum(fill) > 300 else WHITE
    return Style(
        face=face,
        anchor=Anchor(str(rng.choice(["center", "center", "center", "left", "right"]))),
        fill=fill,
        edge=edge,
        rows=rows,
        gravity=float(rng.choice([0.0, 0.5, 1.0, 1.0, 1.0])),
        line_share=rng.uniform(0.55, 0.82) if rows == 1 else rng.uniform(0.6, 0.9),
        baseline_shift=rng.uniform(-0.05, 0.05),
        margin=rng.uniform(0.1, 1.5),
        outline=outline,
        shadow=shadow,
        softness=rng.uniform(0.3, 0.9) if rng.random() < 0.25 else 0.0,
        opacity=1.0 if plain or rng.random() < 0.85 else rng.uniform(0.7, 0.95),
    )


def _any(rng: np.random.Generator, common: tuple[tuple[int, int, int], ...]) -> Colour:
    """Pick a colour, mostly one that is common for captions."""
    if rng.random() < 0.7:
        red, green, blue = common[int(rng.integers(len(common)))]
        return float(red), float(green), float(blue)
    red, green, blue = rng.uniform(90, 255, 3)
    return float(red), float(green), float(blue)


def shrink(style: Style, rows: int) -> Style:
    """Return the style for a strip with room for ``rows`` lines: letters, outlines and margins shrink in proportion."""
    share = style.rows / rows
    return replace(
        style,
        rows=rows,
        baseline_shift=style.baseline_shift * share,
        margin=style.margin * share,
        outline=style.outline * share,
        shadow=style.shadow * share,
    )


def _apart(rng: np.random.Generator, grey: float, distance: float) -> Colour:
    """Pick a slightly tinted grey at some distance from the background's."""
    up = grey + distance <= 252 and (grey - distance < 3 or rng.random() < 0.7)
    level = grey + distance if up else grey - distance
    red, green, blue = np.clip(level + rng.normal(0, 3, 3), 0, 255)
    return float(red), float(green), float(blue)


class Colours:
    """Fill colours of one caption in each frame: one colour, or words that are highlighted or recoloured in some frames."""

    def __init__(self, rng: np.random.Generator, fill: Colour, lettering: Lettering, caption: Caption, *, recolour: bool) -> None:
        self._fill: npt.NDArray[np.float32] = np.asarray(fill, np.float32)
        self._shape = lettering.fill.shape
        self._changes: list[tuple[int, int, int, Colour]] = []
        if recolour:
            span = max(1, lettering.right - lettering.left)
            for t in sorted(rng.integers(caption.start + 1, max(caption.start + 2, caption.stop), int(rng.integers(1, 5)))):
                left, right = (0, self._shape[1])
                if rng.random() < 0.7:
                    left = lettering.left + int(rng.uniform(-0.1, 0.8) * span)
                    right = left + int(rng.uniform(0.15, 0.7) * span)
                self._changes.append((int(t), max(0, left), max(0, right), _lit(rng, fill)))

    def at(self, t: int) -> Colour | npt.NDArray[np.float32]:
        picture = np.broadcast_to(self._fill, (*self._shape, 3)).copy()
        for when, left, right, colour in self._changes:
            if when <= t:
                picture[:, left:right] = colour
        return picture


def _lit(rng: np.random.Generator, fill: Colour) -> Colour:
    """Return another colour on the same side of mid-grey, so that readable words stay readable."""
    if sum(fill) > 300:
        return _any(rng, _BRIGHT) if rng.random() < 0.5 else (255.0, float(rng.integers(60, 255)), float(rng.integers(0, 255)))
    red, green, blue = rng.uniform(0, 90, 3)
    return float(red), float(green), float(blue)
