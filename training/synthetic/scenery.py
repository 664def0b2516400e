"""Writing in the picture that is not a caption: signs that move with the scene, and logos that stay."""

from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from training.synthetic.fonts import FontShelf, load_font, vocabulary_of
from training.synthetic.ground import Strips, Take
from training.synthetic.words import Script

_DRIVEN_SHARE: Final = 0.4  # of the signs move by themselves, as on a car; the others move with the scene


def put_sign(rng: np.random.Generator, take: Take, shelf: FontShelf, script: Script) -> None:
    """Paint a sign into a take's strips, in place: writing on a board, tilted, blurred or cut off, moving with the scene or on its own.

    A sign that does not move is no taller than the strips, so that its board shows that it is not a caption.
    """
    height, width = take.strips.shape[1:3]
    speed = rng.uniform(-7, 7) * np.array([1, rng.uniform(-0.15, 0.15)]) if rng.random() < _DRIVEN_SHARE else np.zeros(2)
    still = not speed.any() and float(np.ptp(take.shift, 0).max()) < 1
    face = shelf.pick(rng, script)
    text = " ".join(vocabulary_of(face.path, script).line(rng).words[:2])
    size = max(8, round(height * rng.uniform(0.35, 0.65 if still else 1.6)))
    font = load_font(face.path, size)
    board = Image.new("RGBA", (int(font.getlength(text)) + size, round(size * 1.5)), _colour(rng, 255))
    ImageDraw.Draw(board).text((size / 2, size * 1.1), text, fill=_colour(rng, 255), font=font, anchor="ls")
    board = _tilt(rng, board)
    if rng.random() < 0.6:
        board = board.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 0.06 * size + 0.5)))
    if rng.random() < 0.3:
        board.putalpha(board.getchannel("A").point(lambda a: a * 0.75))
    x = rng.uniform(*sorted((-0.3 * board.width, width - 0.7 * board.width)))
    y = rng.uniform(-0.45 * board.height, height - 0.55 * board.height)
    _paste(take, board, np.array([x, y]), speed)


def put_poster(rng: np.random.Generator, take: Take, shelf: FontShelf, script: Script) -> None:
    """Paint a poster, a scoreboard, a page or a shirt's print into a take's strips, in place: one to five lines, each of its own size.

    It moves with the scene or on its own. One that does not move is tilted and blurred, because people take upright, sharp, still letters
    for a caption.
    """
    height, width = take.strips.shape[1:3]
    speed = rng.uniform(-6, 6, 2) * (1, 0.15) if rng.random() < _DRIVEN_SHARE else np.zeros(2)
    still = not speed.any() and float(np.ptp(take.shift, 0).max()) < 1
    face = shelf.pick(rng, script)
    words = vocabulary_of(face.path, script)
    size = height * (rng.uniform(1.2, 2.5) if still else rng.uniform(0.25, 1.6))
    lines = [" ".join(words.line(rng).words[: int(rng.integers(1, 4))]) for _ in range(int(rng.integers(1, 6)))]
    fonts = [load_font(face.path, max(7, round(size * rng.uniform(0.4, 1.0)))) for _ in lines]
    tops = np.cumsum([0.0, *(1.35 * font.size for font in fonts)])
    wide = max(font.getlength(line) for font, line in zip(fonts, lines, strict=True))
    board = Image.new("RGBA", (int(wide + size), int(tops[-1] + 0.6 * size)), _colour(rng, 255 if rng.random() < 0.7 else 0))
    pen, colour = ImageDraw.Draw(board), _colour(rng, 255)
    centred = rng.random() < 0.6
    for font, line, top in zip(fonts, lines, tops[:-1], strict=True):
        left = (board.width - font.getlength(line)) / 2 if centred else size / 2
        pen.text(
            (left, top + 0.3 * size + font.size), line, fill=colour if rng.random() < 0.7 else _colour(rng, 255), font=font, anchor="ls"
        )
    if still or rng.random() < 0.5:
        board = _tilt(rng, board)
    if still or rng.random() < 0.5:
        board = board.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 0.05 * size + 0.5)))
    x = rng.uniform(*sorted((-0.3 * board.width, width - 0.7 * board.width)))
    y = rng.uniform(*sorted((-0.3 * height, height - board.height + 0.3 * height)))
    _paste(take, board, np.array([x, y]), speed)


def _paste(take: Take, board: Image.Image, corner: npt.NDArray[np.float64], speed: npt.NDArray[np.float64]) -> None:
    """Paste a board into a take's strips: it moves and grows with the scene, and by ``speed`` from strip to strip.

    Args:
        corner: of the board in the middle strip; column and row.
    """
    n, middle = len(take.strips), len(take.strips) // 2
    zoom = take.zoom / take.zoom[middle]
    at = take.shift + (corner - take.shift[middle]) * zoom[:, None] + speed * (np.arange(n)[:, None] - middle)
    for t in range(n):
        image = Image.fromarray(take.strips[t])
        near = board.resize((max(1, round(board.width * zoom[t])), max(1, round(board.height * zoom[t])))) if zoom[t] != 1 else board
        image.paste(near, (round(at[t, 0]), round(at[t, 1])), near)
        take.strips[t] = np.asarray(image)


def put_logo(rng: np.random.Generator, strips: Strips, shelf: FontShelf) -> None:
    """Paint a broadcaster's logo near a side of the strips, in place: a shape with one to three letters, half transparent."""
    n, height, width = strips.shape[:3]
    size = round(height * rng.uniform(0.5, 0.95))
    side = Image.new("RGBA", (round(size * rng.uniform(1, 2.2)), size))
    pen = ImageDraw.Draw(side)
    frame = (0, 0, side.width - 1, side.height - 1)
    strength = int(rng.uniform(110, 256))
    shape = rng.integers(3)
    if shape == 0:
        pen.ellipse(frame, fill=_colour(rng, strength))
    elif shape == 1:
        pen.rounded_rectangle(frame, size // 4, fill=_colour(rng, strength))
    else:
        pen.rectangle(frame, outline=_colour(rng, strength), width=max(1, size // 9))
    face = shelf.pick(rng, Script.LATIN)
    name = "".join(rng.choice(list("ABCDEFGHKLMNOPRSTVXZ123"), int(rng.integers(1, 4))))
    font = load_font(face.path, max(7, round(size * 0.5)))
    pen.text((side.width / 2, side.height / 2), name, fill=_colour(rng, strength), font=font, anchor="mm")
    inset = int(rng.uniform(0.0, 0.05) * width)
    x = inset if rng.random() < 0.5 else width - inset - side.width
    y = int(rng.uniform(0, height - side.height))
    for t in range(n):
        image = Image.fromarray(strips[t])
        image.paste(side, (x, y), side)
        strips[t] = np.asarray(image)


def put_watermark(rng: np.random.Generator, strips: Strips, shelf: FontShelf) -> None:
    """Paint writing that stays for the whole clip into the strips, in place: a watermark or a name on the picture's edge.

    It is faint or cut off, because people take whole, strong letters for a caption.
    """
    n, height, width = strips.shape[:3]
    face = shelf.pick(rng, Script.LATIN)
    text = " ".join(vocabulary_of(face.path, Script.LATIN).line(rng).words[:2])
    text = text.upper() if rng.random() < 0.6 else text
    size = max(8, round(height * rng.uniform(0.4, 1.3)))
    font = load_font(face.path, size)
    cut_off = rng.random() < 0.5
    strength = rng.uniform(0.3, 0.9) if cut_off else rng.uniform(0.1, 0.3)
    x = rng.uniform(-0.2, 0.9) * width
    hidden = rng.uniform(0.45, 0.7) * size  # how much of the letters is above the upper edge or below the lower one
    base = rng.uniform(0.6, 1.0) * height
    if cut_off:
        base = 0.68 * size - hidden if rng.random() < 0.5 else height + hidden
    mask = Image.new("L", (width, height))
    pen = ImageDraw.Draw(mask)
    if rng.random() < 0.4:  # outlines only
        stroke = max(1, size // 16)
        pen.text((x, base), text, fill=255, font=font, anchor="ls", stroke_width=stroke)
        pen.text((x, base), text, fill=0, font=font, anchor="ls")
    else:
        pen.text((x, base), text, fill=255, font=font, anchor="ls")
    opacity = np.asarray(mask, np.float32)[..., None] / 255 * strength
    colour = np.asarray(_colour(rng, 255)[:3], np.float32)
    for t in range(n):
        strips[t] = np.clip(strips[t] + (colour - strips[t]) * opacity, 0, 255).astype(np.uint8)


def _colour(rng: np.random.Generator, strength: int) -> tuple[int, int, int, int]:
    red, green, blue = (int(v) for v in rng.integers(0, 256, 3))
    return (red, green, blue, strength) if rng.random() < 0.7 else (245, 245, 245, strength)


def _tilt(rng: np.random.Generator, board: Image.Image) -> Image.Image:
    """Rotate by 7 to 25 degrees, or apply a perspective seen from the side. Slanted letters do neither."""
    if rng.random() < 0.5:
        angle = rng.uniform(7, 25) * rng.choice([-1, 1])
        return board.rotate(float(angle), Image.Resampling.BILINEAR, expand=True)
    lean, shrink = rng.uniform(0.2, 0.6) * rng.choice([-1, 1]), rng.uniform(0.15, 0.4)
    width, height = board.size
    corners = (0, 0, 0, height, width, height * (1 + shrink), width, -height * shrink)
    leaned = board.transform((width, height), Image.Transform.QUAD, corners, Image.Resampling.BILINEAR)
    grow = round(abs(lean) * height)
    shear = (1, float(lean), -grow if lean > 0 else 0.0, 0, 1, 0)
    return leaned.transform((width + grow, height), Image.Transform.AFFINE, shear, Image.Resampling.BILINEAR)
