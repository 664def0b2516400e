"""Finds the zones of a film that hold captions: rows in which letters come and go, in pictures spread over the whole film."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from core.labels import EMPTY_EMPTY, SAME
from inference.arrays import Frames
from inference.engine.predictor import PairPredictor, Predictor
from inference.finding.letters import WORKING_SIDE, Line, LumaMap, Mask, lines, strokes
from inference.finding.settle import Seen, settle
from inference.finding.zone import Zone
from inference.media.box import CropBox
from inference.media.film import upright
from inference.media.glimpses import glimpse

GLIMPSES: Final = 96
_STRIP: Final = (512, 32)  # width, height: the network stretches strips to this size
_MARGIN: Final = 0.4  # of a line's height, on each side, as in strips that people draw
_BATCH: Final = 32  # strips in one call of the network
_LEAST_WRITING: Final = 0.5  # the network's least probability of letters in a strip


@dataclass(frozen=True, slots=True)
class Sight:
    """The result of searching a film.

    Attributes:
        zones: where captions are, from top to bottom; empty if there are none.
        standing: boxes of writing that never changes, such as logos.
        pictures: the number of pictures that were searched.
        width, height: of the film, in pixels.
        samples: some of the pictures, RGB, with their times in seconds.
    """

    zones: list[Zone]
    standing: list[CropBox]
    pictures: int
    width: int
    height: int
    samples: list[tuple[float, Frames]]


@dataclass(slots=True)
class _Candidate:
    picture: int
    box: CropBox
    strip: Frames
    strokes: Mask


def search(path: Path, predictor: Predictor, within: Sequence[CropBox] = (), samples: int = 0) -> Sight:
    """Search pictures spread over a whole film. Takes a few seconds, however long the film is.

    Args:
        within: search only inside these boxes.
        samples: how many pictures to keep, for a preview.

    Raises:
        CorruptInputError: the file cannot be opened as a film.
    """
    candidates: list[_Candidate] = []
    kept: list[tuple[float, Frames]] = []
    count, stride, width, height = 0, 1, 0, 0
    for seconds, frame in glimpse(path, GLIMPSES):
        picture = upright(frame)
        height, width = picture.shape[:2]
        for bound in within or [CropBox(0, 0, width, height)]:
            candidates += _candidates(count, picture, bound)
        if samples and count % stride == 0:
            kept.append((seconds, picture))
            if len(kept) > 2 * samples:
                kept, stride = kept[::2], 2 * stride
        count += 1
    seen = [
        Seen(candidate.picture, candidate.box, candidate.strokes, share)
        for candidate, share in zip(candidates, _writing(predictor, [candidate.strip for candidate in candidates]), strict=True)
        if share >= _LEAST_WRITING
    ]
    zones, standing = settle(seen, count, width, height)
    spread = [kept[round(index)] for index in np.linspace(0, len(kept) - 1, min(samples, len(kept)))]
    return Sight(zones, standing, count, width, height, spread)


def _candidates(number: int, picture: Frames, bound: CropBox) -> list[_Candidate]:
    step = max(1, round(max(picture.shape[:2]) / WORKING_SIDE))
    luma = _shrunk(picture[bound.top : bound.bottom, bound.left : bound.right], step)
    mask = strokes(luma)
    candidates = []
    for line in lines(mask, min(picture.shape[:2]) // step):
        wide = _widened(line, luma.shape)
        box = CropBox(
            *(bound.left + wide.left * step, bound.top + wide.top * step, bound.left + wide.right * step, bound.top + wide.bottom * step)
        )
        strip = Image.fromarray(picture[box.top : box.bottom, box.left : box.right]).resize(_STRIP, Image.Resampling.BILINEAR)
        tight = CropBox(
            *(bound.left + line.left * step, bound.top + line.top * step, bound.left + line.right * step, bound.top + line.bottom * step)
        )
        candidates.append(_Candidate(number, tight, np.asarray(strip), mask[line.top : line.bottom, line.left : line.right]))
    return candidates


def _shrunk(picture: Frames, step: int) -> LumaMap:
    """Shrink luma: each pixel is the mean of ``step`` × ``step``; remaining rows and columns are cut off."""
    height, width = (side // step * step for side in picture.shape[:2])
    green = np.ascontiguousarray(picture[:height, :width, 1])
    total = np.zeros((height // step, width // step), np.uint32)
    for row in range(step):  # several times as fast as a mean over two axes
        for column in range(step):
            total += green[row::step, column::step]
    return (total // step**2).astype(np.uint8)


def _widened(line: Line, shape: tuple[int, ...]) -> Line:
    margin = round(_MARGIN * line.height)
    return Line(
        max(0, line.top - margin), min(shape[0], line.bottom + margin), max(0, line.left - margin), min(shape[1], line.right + margin)
    )


def _writing(predictor: Predictor, strips: Sequence[Frames]) -> list[float]:
    """Return how sure the network is that there are letters in each strip, 0..1, from its labels for the strip paired with itself."""
    shares: list[float] = []
    for begin in range(0, len(strips), _BATCH):
        frames = np.stack(strips[begin : begin + _BATCH])
        if isinstance(predictor, PairPredictor):
            each = np.arange(len(frames))
            probabilities = predictor.extend(None, frames, each, each)[1]
        else:
            probabilities = predictor.predict(None, np.repeat(frames, 2, axis=0))[::2]  # every second pair is a strip and itself
        shares += [float(scores[SAME] / max(1e-6, scores[SAME] + scores[EMPTY_EMPTY])) for scores in probabilities.mean(axis=1)]
    return shares
