"""One clip: captions over a moving background, with the true caption of every frame.

A fading caption counts as present from the first to the last frame in which it is at least half visible. So a fade is a single
``empty_valid``, however many frames it takes. A caption whose words change colour stays the same caption.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from training.synthetic.boxes import Boxes, draw_boxes
from training.synthetic.fonts import FontShelf, vocabulary_of
from training.synthetic.ground import Motion, ShotSource, Strips, film, footage, photo, texture
from training.synthetic.highlight import LitWords, pick_light
from training.synthetic.kinds import Recipe
from training.synthetic.lettering import Colour, Lettering, Picture, Style, draw, lay
from training.synthetic.lookalikes import lookalike
from training.synthetic.scenery import put_logo, put_poster, put_sign, put_watermark
from training.synthetic.styles import Colours, pick_style, shrink
from training.synthetic.timeline import Caption, write_timeline
from training.synthetic.words import Script

VISIBLE: Final = 0.5
_LEAST_CONTRAST: Final = 42.0  # levels of luma, of 255: what can be read at a glance
_LEAST_CONTRAST_IF_FAINT: Final = 22.0
_LEAST_OVER_DETAIL: Final = 2.0  # times as strong as the background's own detail, in which weaker letters drown
_ATTEMPTS: Final = 6  # to find a legible style; the last one is white with a black outline
_MEASURE_EVERY: Final = 4  # frames
_PARTS: Final = 4
_LEAST_HEIGHT_OF_TWO_ROWS: Final = 32
LUMA: Final = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, slots=True)
class Stage:
    """Material of the clips: fonts, footage and photographs of one side of the split into training and testing.

    Attributes:
        footage_share, photo_share: shares of the backgrounds; the rest are generated textures.
    """

    shelf: FontShelf
    shots: tuple[ShotSource, ...]
    footage_share: float
    photos: tuple[str, ...] = ()
    photo_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Clip:
    """Strips before compression, and their true captions.

    Attributes:
        caption: (n,) number of the caption in each frame from 1, 0 for none.
        visibility: (n,) of the most visible caption, 0..1.
        bare: the strips without captions.
        cover: (n, height, width) share of each pixel that captions cover, as 0..1.
        quality: libvpx's constant rate factor for storing this clip.
    """

    strips: Strips
    bare: Strips
    caption: npt.NDArray[np.int64]
    visibility: npt.NDArray[np.float32]
    cover: npt.NDArray[np.float32]
    script: Script
    quality: int


def make_clip(rng: np.random.Generator, recipe: Recipe, stage: Stage, n: int) -> Clip:
    """Draw a clip of ``n`` frames with captions that a person can read."""
    height = int(rng.integers(recipe.height[0], recipe.height[1] + 1)) // 2 * 2
    width = min(1440, int(height * rng.uniform(*recipe.aspect))) // 2 * 2
    script = recipe.scripts[int(rng.integers(len(recipe.scripts)))]
    thin, faint = rng.random() < recipe.thin, rng.random() < recipe.low_contrast
    strips = _ground(rng, recipe, stage, script, n, height, width, faint=faint)
    if rng.random() < recipe.logo:
        put_logo(rng, strips, stage.shelf)
    if recipe.watermark and rng.random() < recipe.watermark:
        put_watermark(rng, strips, stage.shelf)
    rows = 2 if height >= _LEAST_HEIGHT_OF_TWO_ROWS and rng.random() < recipe.two_lines else 1
    room = int(rng.integers(recipe.tall_rows[0], recipe.tall_rows[1] + 1)) if recipe.tall and rng.random() < recipe.tall else rows
    face = stage.shelf.pick(rng, script, thin=thin)
    captions = write_timeline(rng, recipe, vocabulary_of(face.path, script), rows, n)
    if rng.random() < recipe.captionless:
        captions = []
    grounds = strips.astype(np.float32)
    boxes = draw_boxes(rng, recipe, width, height, n, height * rows / room)
    least_contrast = _LEAST_CONTRAST_IF_FAINT if faint else _LEAST_CONTRAST
    for attempt in range(_ATTEMPTS):
        plain = attempt == _ATTEMPTS - 1
        style = shrink(pick_style(rng, face, strips, rows, thin=thin, faint=faint, plain=plain), room)
        scene = _compose(rng, recipe, grounds.copy(), boxes, captions, style, least_contrast)
        if scene.legible:
            break
    quality = int(rng.integers(recipe.quality[0], recipe.quality[1] + 1))
    strips, bare = (np.clip(pictures, 0, 255).astype(np.uint8) for pictures in (scene.pictures, scene.bare))
    return Clip(strips, bare, scene.caption, scene.visibility, scene.cover, script, quality)


@dataclass(slots=True)
class _Scene:
    pictures: npt.NDArray[np.float32]
    bare: npt.NDArray[np.float32]
    caption: npt.NDArray[np.int64]
    visibility: npt.NDArray[np.float32]
    cover: npt.NDArray[np.float32]
    legible: bool = True


def _compose(
    rng: np.random.Generator,
    recipe: Recipe,
    pictures: npt.NDArray[np.float32],
    boxes: Boxes,
    captions: list[Caption],
    style: Style,
    least_contrast: float,
) -> _Scene:
    """Lay boxes and captions over the backgrounds, in place."""
    n, height, width = pictures.shape[:3]
    letterings = [draw(caption.lines, style, width, height) for caption in captions]
    boxes.put(pictures, captions, letterings)
    bare = pictures.copy()
    scene = _Scene(pictures, bare, np.zeros(n, np.int64), np.zeros(n, np.float32), np.zeros((n, height, width), np.float32))
    light = pick_light(rng, style.fill) if recipe.lit_words and rng.random() < recipe.lit_words else None
    for number, (caption, lettering) in enumerate(zip(captions, letterings, strict=True), start=1):
        colours = Colours(rng, style.fill, lettering, caption, recolour=rng.random() < recipe.recolour)
        lit = LitWords(rng, caption, style, light, width, height) if light else None
        first = max(0, caption.start + caption.fade_in)  # in which it is wholly visible
        for t in caption.frames(n):
            visible = caption.visibility(t)
            measured = visible == 1.0 and (t == first or t % _MEASURE_EVERY == 0)
            fill: Colour | Picture = colours.at(t)
            if lit is not None:
                lettering, fill = lit.at(t)
                for picture in (bare[t], pictures[t]):
                    lit.put_box(picture, t, visible * style.opacity)
            lay(pictures[t], lettering.edge, style.edge, visible * style.opacity)
            lay(pictures[t], lettering.fill, fill, visible * style.opacity)
            if measured and scene.legible:
                scene.legible = legible(bare[t], pictures[t], lettering, least_contrast)
            scene.cover[t] = np.maximum(scene.cover[t], lettering.cover * visible)
            if visible > scene.visibility[t]:
                scene.visibility[t] = visible
                scene.caption[t] = number if visible >= VISIBLE else 0
    return scene


def legible(before: Picture, after: Picture, lettering: Lettering, least_contrast: float) -> bool:
    """Whether each quarter of a caption differs enough from its background: in luma, and compared with the background's own detail."""
    written = np.flatnonzero(lettering.cover.any(1))
    if not len(written):
        return False
    box = slice(written[0], written[-1] + 1), slice(lettering.left, lettering.right)
    ground = before @ LUMA
    change, weight, detail = (levels[box] for levels in (np.abs(after @ LUMA - ground), lettering.cover, _detail(ground)))
    quarters = zip(*(np.array_split(levels, _PARTS, axis=1) for levels in (change, weight, detail)), strict=True)
    seen = [
        change.sum() >= least_contrast * weight.sum()
        and np.square(change).sum() / weight.sum() >= _LEAST_OVER_DETAIL**2 * np.square(detail).mean()
        for change, weight, detail in quarters
        if weight.sum() >= 1
    ]
    return bool(seen) and all(seen)


def _detail(luma: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the background's detail at the scale of strokes: its difference from its mean over a square of a quarter of its height."""
    coarse = Image.fromarray(np.clip(luma, 0, 255).astype(np.uint8)).filter(ImageFilter.BoxBlur(len(luma) / 8))
    return luma - np.asarray(coarse, np.float32)


def _ground(
    rng: np.random.Generator, recipe: Recipe, stage: Stage, script: Script, n: int, height: int, width: int, *, faint: bool
) -> Strips:
    """Make the background with its signs, and cuts if the recipe has them. A faint caption gets a background calm enough to read it."""
    cuts = sorted({int(c) for c in rng.integers(1, n, max(1, n // 12))}) if rng.random() < recipe.cut else []
    parts = []
    for start, stop in zip([0, *cuts], [*cuts, n], strict=True):
        motion = Motion.SHAKE if rng.random() < recipe.shake else Motion(str(rng.choice(["rest", "pan", "pan", "zoom"])))
        source, step = rng.random(), 0.0
        if recipe.lookalike and rng.random() < recipe.lookalike:
            shot, step = lookalike(rng, height, width), 1.0
        elif source < stage.footage_share:
            shot, step = footage(rng, stage.shots)
        elif source < stage.footage_share + stage.photo_share:
            shot = photo(rng, stage.photos)
        else:
            shot = texture(rng, height, width, busy=rng.random() < recipe.busy and not faint)
        take = film(rng, shot, step, motion, stop - start, height, width)
        if rng.random() < recipe.sign:
            put_sign(rng, take, stage.shelf, Script.LATIN if rng.random() < 0.5 else script)
        if recipe.poster and rng.random() < recipe.poster:
            put_poster(rng, take, stage.shelf, Script.LATIN if rng.random() < 0.5 else script)
        parts.append(take.strips)
    strips = np.concatenate(parts)
    if faint:  # flattened towards its own mean
        pictures = strips.astype(np.float32)
        middle = pictures.mean((0, 1, 2))
        strips = np.clip(middle + (pictures - middle) * min(1.0, 9.0 / (pictures.std() + 1e-6)), 0, 255).astype(np.uint8)
    if rng.random() < 0.25:
        grain = rng.normal(0, rng.uniform(2, 9), strips.shape)
        strips = np.clip(strips + grain, 0, 255).astype(np.uint8)
    return strips
