"""One clip: captions written over a moving ground, with the truth of every frame.

A caption that fades is there from the first frame in which it is at least half visible to the last one: so a fade is
one ``empty_valid``, however many frames it takes. A caption whose words change colour stays the same caption.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from core.types import Anchor
from inference.synthetic.fonts import FontShelf
from inference.synthetic.ground import Motion, ShotSource, Strips, film, footage, texture
from inference.synthetic.kinds import Recipe
from inference.synthetic.lettering import BLACK, WHITE, Colour, Lettering, Mask, Style, draw, lay
from inference.synthetic.scenery import put_logo, put_sign
from inference.synthetic.timeline import Caption, write_timeline
from inference.synthetic.words import Script

VISIBLE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Stage:
    """What clips are made from: the fonts and the footage of one side of the split."""

    shelf: FontShelf
    shots: tuple[ShotSource, ...]
    footage_share: float  # of the grounds; the rest are made textures


@dataclass(frozen=True, slots=True)
class Clip:
    """Strips before compression, and the truth.

    Attributes:
        caption: (n,) number of the caption in each frame from 1, 0 for none.
        visibility: (n,) of the most visible caption, 0..1.
        cover: (n, height, width) share of each pixel that captions cover, as 0..1.
        quality: libvpx's constant rate factor this clip is to be stored with.
    """

    strips: Strips
    caption: npt.NDArray[np.int64]
    visibility: npt.NDArray[np.float32]
    cover: npt.NDArray[np.float32]
    script: Script
    quality: int


def make_clip(rng: np.random.Generator, recipe: Recipe, stage: Stage, n: int) -> Clip:
    """Draw a clip of ``n`` frames."""
    height = int(rng.integers(recipe.height[0], recipe.height[1] + 1)) // 2 * 2
    width = min(1440, int(height * rng.uniform(*recipe.aspect))) // 2 * 2
    script = recipe.scripts[int(rng.integers(len(recipe.scripts)))]
    thin, faint = rng.random() < recipe.thin, rng.random() < recipe.low_contrast
    strips = _ground(rng, recipe, stage, n, height, width, faint=faint)
    if rng.random() < recipe.sign:
        put_sign(rng, strips, stage.shelf, Script.LATIN if rng.random() < 0.5 else script, still=rng.random() < 0.4)
    if rng.random() < recipe.logo:
        put_logo(rng, strips, stage.shelf)
    rows = 2 if rng.random() < recipe.two_lines else 1
    captions = write_timeline(rng, recipe, script, rows, n)
    style = _style(rng, stage.shelf, script, strips, rows, thin=thin, faint=faint)
    letterings = [draw(caption.lines, style, width, height) for caption in captions]
    pictures = strips.astype(np.float32)
    _put_boxes(rng, recipe, pictures, captions, letterings)
    cover = np.zeros((n, height, width), np.float32)
    truth, visibility = np.zeros(n, np.int64), np.zeros(n, np.float32)
    for number, (caption, lettering) in enumerate(zip(captions, letterings, strict=True), start=1):
        colours = _Colours(rng, style.fill, lettering, recolour=rng.random() < recipe.recolour, caption=caption)
        for t in caption.frames(n):
            visible = caption.visibility(t)
            lay(pictures[t], lettering.edge, style.edge, visible * style.opacity)
            lay(pictures[t], lettering.fill, colours.at(t), visible * style.opacity)
            cover[t] = np.maximum(cover[t], lettering.cover * visible)
            if visible > visibility[t]:
                visibility[t] = visible
                truth[t] = number if visible >= VISIBLE else 0
    quality = int(rng.integers(recipe.quality[0], recipe.quality[1] + 1))
    return Clip(np.clip(pictures, 0, 255).astype(np.uint8), truth, visibility, cover, script, quality)


def _ground(rng: np.random.Generator, recipe: Recipe, stage: Stage, n: int, height: int, width: int, *, faint: bool) -> Strips:
    """The ground, cut where the recipe says so; a faint caption gets a ground calm enough to be read on."""
    cuts = sorted({int(c) for c in rng.integers(1, n, max(1, n // 12))}) if rng.random() < recipe.cut else []
    parts = []
    for start, stop in zip([0, *cuts], [*cuts, n], strict=True):
        motion = Motion.SHAKE if rng.random() < recipe.shake else Motion(str(rng.choice(["rest", "pan", "pan", "zoom"])))
        if rng.random() < stage.footage_share:
            shot, step = footage(rng, stage.shots)
        else:
            shot, step = texture(rng, height, width, busy=rng.random() < recipe.busy and not faint), 0.0
        parts.append(film(rng, shot, step, motion, stop - start, height, width))
    strips = np.concatenate(parts)
    if faint:  # flattened towards its own mean
        pictures = strips.astype(np.float32)
        middle = pictures.mean((0, 1, 2))
        strips = np.clip(middle + (pictures - middle) * min(1.0, 9.0 / (pictures.std() + 1e-6)), 0, 255).astype(np.uint8)
    if rng.random() < 0.25:
        grain = rng.normal(0, rng.uniform(2, 9), strips.shape)
        strips = np.clip(strips + grain, 0, 255).astype(np.uint8)
    return strips


def _style(rng: np.random.Generator, shelf: FontShelf, script: Script, ground: Strips, rows: int, *, thin: bool, faint: bool) -> Style:
    fill = WHITE if rng.random() < 0.55 else _bright(rng)
    outline, shadow = rng.uniform(0.03, 0.09), 0.0
    if rng.random() < 0.25:
        outline, shadow = 0.0, rng.uniform(0.04, 0.1)
    if thin or faint or rng.random() < 0.12:
        outline = 0.0 if faint or rng.random() < 0.6 else rng.uniform(0.02, 0.04)
        shadow = 0.0
        if outline == 0.0:
            distance = rng.uniform(32, 60) if faint else rng.uniform(95, 170)
            fill = _apart(rng, float(ground.mean()), distance)
    edge = BLACK if sum(fill) > 300 else WHITE
    return Style(
        face=shelf.pick(rng, script, thin=thin),
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
        opacity=1.0 if rng.random() < 0.85 else rng.uniform(0.7, 0.95),
    )


def _bright(rng: np.random.Generator) -> Colour:
    """Yellow, cyan, green, grey and the like."""
    common = ((250, 240, 60), (255, 220, 0), (90, 240, 240), (120, 250, 120), (210, 210, 210), (255, 170, 60), (15, 15, 15))
    if rng.random() < 0.7:
        red, green, blue = common[int(rng.integers(len(common)))]
        return float(red), float(green), float(blue)
    red, green, blue = rng.uniform(90, 255, 3)
    return float(red), float(green), float(blue)


def _apart(rng: np.random.Generator, grey: float, distance: float) -> Colour:
    """A grey, hardly tinted, at some distance from the ground's."""
    up = grey + distance <= 252 and (grey - distance < 3 or rng.random() < 0.7)
    level = grey + distance if up else grey - distance
    red, green, blue = np.clip(level + rng.normal(0, 3, 3), 0, 255)
    return float(red), float(green), float(blue)


class _Colours:
    """The fill of one caption in each frame: one colour, or words that are lit or recoloured at some frames."""

    def __init__(self, rng: np.random.Generator, fill: Colour, lettering: Lettering, *, recolour: bool, caption: Caption) -> None:
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
    """Another colour on the same side of the middle, so that what was readable stays so."""
    if sum(fill) > 300:
        return _bright(rng) if rng.random() < 0.5 else (255.0, float(rng.integers(60, 255)), float(rng.integers(0, 255)))
    red, green, blue = rng.uniform(0, 90, 3)
    return float(red), float(green), float(blue)


def _put_boxes(
    rng: np.random.Generator, recipe: Recipe, pictures: npt.NDArray[np.float32], captions: list[Caption], letterings: list[Lettering]
) -> None:
    """Paint the boxes captions stand on, in place: one that stays (and may come and go by itself), or each one's own."""
    n, height, width = pictures.shape[:3]
    grey = rng.uniform(0, 40) if rng.random() < 0.8 else rng.uniform(60, 130)
    colour, opacity = (float(grey), float(grey), float(grey + rng.uniform(0, 30))), rng.uniform(0.45, 1.0)
    if rng.random() < recipe.standing_bar:
        mask: Mask = np.zeros((height, width), np.float32)
        inset = int(rng.uniform(0, 0.35) * width)
        mask[int(rng.uniform(0, 0.12) * height) : int(rng.uniform(0.88, 1.0) * height), inset : width - inset] = 1
        comes, goes = (int(t) for t in sorted(rng.integers(0, n, 2)))
        comes, goes = (0, n) if rng.random() < 0.6 else (comes, goes)
        for t in range(comes, goes):
            lay(pictures[t], mask, colour, opacity)
    elif rng.random() < recipe.own_box:
        pad = int(rng.uniform(0.1, 0.4) * height)
        for caption, lettering in zip(captions, letterings, strict=True):
            mask = np.zeros((height, width), np.float32)
            mask[:, max(0, lettering.left - pad) : lettering.right + pad] = 1
            for t in caption.frames(n):
                lay(pictures[t], mask, colour, opacity * caption.visibility(t))
