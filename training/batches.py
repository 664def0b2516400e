"""Batches for training: short runs of frames from many clips, with the true labels of near and distant pairs."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from core.labels import DIFFERENT, EMPTY_EMPTY, EMPTY_VALID, SAME, VALID_EMPTY
from training.data import CLIP_FRAMES, LATER, TrainingSet

RUN_FRAMES: Final = 5
STRIDES: Final = (1, 3)  # neighbours, as in use, and frames farther apart, between which the background has moved more
_UNSURE: Final = (0.4, 0.6)  # visibility between which presence is a matter of definition
_UNSURE_WEIGHT: Final = 0.5
_BOUNDARY_WEIGHT: Final = 1.5  # boundaries are rarer than other pairs, and matter more
_BOUNDARY_SHARE: Final = 0.5  # of the runs contain a boundary, if the clip has one
_HARD_SHARE: Final = 0.3  # of the draws are weighted by the network's last loss
_WORST: Final = 2.0  # a higher loss makes a clip no likelier: it may be illegible
_MIRRORED_SHARE: Final = 0.3  # of the runs: cheap new backgrounds, and mirrored strokes are strokes too
_WRITTEN: Final = 0.15  # mean of the map of what captions cover, above which a glimpse shows a caption
_UNWRITTEN: Final = 0.02  # its maximum, below which a glimpse shows none
_TIGHTENED_SHARE: Final = 0.4  # of the runs: strips are cut closer to their letters, as zones that are found by themselves are
_AHEAD: Final = 3  # batches


@dataclass(frozen=True, slots=True)
class Batch:
    """Runs of frames. Labels and weights of their pairs are ordered as in ``contrast``: by stride, and forward before backward."""

    clips: npt.NDArray[np.int_]  # (runs,) their numbers
    canvases: torch.Tensor  # (runs, frames, 3, 32, 512) in about -1..1
    cover: torch.Tensor  # (runs, frames, 8, 128), 0..1
    labels: torch.Tensor  # (pairs of both directions,)
    weights: torch.Tensor  # (pairs of both directions,)
    runs: torch.Tensor  # (pairs of both directions,) which run each is of
    later: torch.Tensor  # (runs,) whether it is of a kind that earlier weights do not know
    glimpses: torch.Tensor  # (runs, 3, 32, 512) a part of one frame of each, as `find` searches films by
    writing: torch.Tensor  # (runs,) whether a glimpse shows a caption: 1, 0, or -1 where it shows a little of one


def label_pairs(before: npt.NDArray[np.int_], after: npt.NDArray[np.int_]) -> npt.NDArray[np.int64]:
    """The label of each pair, from the numbers of the captions in its two frames (0 for none)."""
    both = np.where(before == after, SAME, DIFFERENT)
    present = np.where(after > 0, both, VALID_EMPTY)
    absent = np.where(after > 0, EMPTY_VALID, EMPTY_EMPTY)
    return np.where(before > 0, present, absent).astype(np.int64)


def to_canvases(strips: npt.NDArray[np.uint8]) -> torch.Tensor:
    """Convert stored strips (runs, frames, 32, 512, 3) to canvases (runs, frames, 3, 32, 512) in -1..1, channels last in memory."""
    return (torch.from_numpy(strips).float() / 127.5 - 1).permute(0, 1, 4, 2, 3)


class HardExampleSampler:
    """Draws clip numbers: each once at first; then most at random, and the rest weighted by the network's last loss on them."""

    def __init__(self, clips: npt.NDArray[np.int_], rng: np.random.Generator) -> None:
        self._clips, self._rng = clips, rng
        self._fresh = rng.permutation(len(clips))
        self._wrongness = np.ones(int(clips.max()) + 1)

    def draw(self, count: int) -> npt.NDArray[np.int_]:
        if len(self._fresh) >= count:
            drawn, self._fresh = self._fresh[:count], self._fresh[count:]
        else:
            wrongness = self._wrongness[self._clips]
            chances = (1 - _HARD_SHARE) / len(self._clips) + _HARD_SHARE * wrongness / wrongness.sum()
            drawn = self._rng.choice(len(self._clips), count, replace=False, p=chances)
        return np.sort(self._clips[drawn])

    def record_losses(self, clips: npt.NDArray[np.int_], losses: npt.NDArray[np.float64]) -> None:
        """Record the network's losses on runs of these clips."""
        self._wrongness[clips] = np.minimum(losses, _WORST) + 1e-3


class Batches:
    """One process's share of every batch, prepared in a thread while the network works on earlier ones.

    Args:
        share: clips per batch; one run of each is taken.
        part: index of this share among ``parts`` equal shares of the clips.
    """

    def __init__(self, data: TrainingSet, share: int, seed: int, part: int, parts: int) -> None:
        self._data, self._share = data, share
        clips = np.random.default_rng(seed).permutation(len(data))[part::parts]
        self._sampler = HardExampleSampler(clips, np.random.default_rng([seed, part, 0]))
        self._rng = np.random.default_rng([seed, part, 1])
        self._thread = ThreadPoolExecutor(1)
        self._coming: deque[Future[Batch]] = deque()

    def take(self) -> Batch:
        while len(self._coming) <= _AHEAD:
            self._coming.append(self._thread.submit(_batch, self._data, self._sampler.draw(self._share), self._rng))
        return self._coming.popleft().result()

    def record_losses(self, batch: Batch, losses: torch.Tensor) -> None:
        """Record the network's loss on each run of a batch, so that hard clips are drawn more often."""
        self._sampler.record_losses(batch.clips, losses.double().numpy())

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)


def _batch(data: TrainingSet, clips: npt.NDArray[np.int_], rng: np.random.Generator) -> Batch:
    runs = []
    for clip in clips:
        begin = _begin(data.caption[clip], rng)
        runs.append((clip, slice(begin, begin + RUN_FRAMES)))
    caption = np.stack([data.caption[run] for run in runs]).astype(np.int_)
    visibility = np.stack([data.visibility[run] for run in runs])
    unsure = (visibility > _UNSURE[0]) & (visibility < _UNSURE[1])
    labels, doubts, numbers = [], [], []
    for stride in STRIDES:
        before, after = caption[:, :-stride].ravel(), caption[:, stride:].ravel()
        labels += [label_pairs(before, after), label_pairs(after, before)]
        doubts += 2 * [(unsure[:, :-stride] | unsure[:, stride:]).ravel()]
        numbers += 2 * [np.arange(len(runs)).repeat(RUN_FRAMES - stride)]
    weights = np.where(np.concatenate(doubts), _UNSURE_WEIGHT, 1.0)
    weights *= np.where(np.isin(np.concatenate(labels), (SAME, EMPTY_EMPTY)), 1.0, _BOUNDARY_WEIGHT)
    canvases = _augment(to_canvases(np.stack([data.strips[run] for run in runs])), rng)
    cover = torch.from_numpy(np.stack([data.cover[run] for run in runs])).float() / 255
    for run in np.flatnonzero(rng.random(len(runs)) < _TIGHTENED_SHARE).tolist():
        canvases[run], cover[run] = tightened(canvases[run], cover[run], rng)
    for run in np.flatnonzero(rng.random(len(runs)) < _MIRRORED_SHARE).tolist():
        canvases[run], cover[run] = canvases[run].flip(-1), cover[run].flip(-1)
    return Batch(
        clips,
        canvases,
        cover,
        torch.from_numpy(np.concatenate(labels)),
        torch.from_numpy(weights).float(),
        torch.from_numpy(np.concatenate(numbers)),
        torch.from_numpy(LATER[clips % len(LATER)]),
        *glimpses_of(canvases, cover, rng),
    )


def tightened(canvases: torch.Tensor, cover: torch.Tensor, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut a run's edges off, at random but not through its captions, and stretch the rest to the canvas."""
    height, width = cover.shape[-2:]
    scale = canvases.shape[-2] // height
    covered = cover.amax(0) > _UNWRITTEN
    sides = []
    for length, written in ((height, covered.any(1)), (width, covered.any(0))):
        places = torch.nonzero(written)[:, 0].tolist() or [length // 2]
        sides.append(
            (int(rng.integers(min(places[0], length // 3) + 1)), length - int(rng.integers(min(length - 1 - places[-1], length // 3) + 1)))
        )
    (top, bottom), (left, right) = sides
    part = canvases[..., scale * top : scale * bottom, scale * left : scale * right]
    seen = cover[:, None, top:bottom, left:right]
    return (
        functional.interpolate(part, canvases.shape[-2:], mode="bilinear"),
        functional.interpolate(seen, (height, width), mode="bilinear")[:, 0],
    )


def glimpses_of(canvases: torch.Tensor, cover: torch.Tensor, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut a part out of one frame of each run, and stretch it to the canvas."""
    runs, frames, _, height, width = canvases.shape
    glimpses, writing = torch.empty((runs, *canvases.shape[2:])), torch.empty(runs, dtype=torch.int64)
    scale = height // cover.shape[-2]
    for run in range(runs):
        frame = int(rng.integers(frames))
        rows, columns = round(rng.uniform(0.6, 1.0) * height), round(rng.uniform(0.15, 1.0) * width)
        top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
        part = canvases[run, frame, :, top : top + rows, left : left + columns]
        glimpses[run] = functional.interpolate(part[None], (height, width), mode="bilinear")[0]
        covered = cover[run, frame, top // scale : -(-(top + rows) // scale), left // scale : -(-(left + columns) // scale)]
        writing[run] = 1 if float(covered.mean()) > _WRITTEN else 0 if float(covered.max()) < _UNWRITTEN else -1
    return glimpses, writing


def _begin(caption: npt.NDArray[np.uint8], rng: np.random.Generator) -> int:
    """Choose the first frame of a run."""
    boundaries = np.flatnonzero(np.diff(caption.astype(np.int_)))
    if len(boundaries) and rng.random() < _BOUNDARY_SHARE:
        begin = int(rng.choice(boundaries)) - int(rng.integers(RUN_FRAMES - 1))
    else:
        begin = int(rng.integers(CLIP_FRAMES - RUN_FRAMES + 1))
    return min(max(0, begin), CLIP_FRAMES - RUN_FRAMES)


def _augment(canvases: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Vary colours, brightness and contrast of each run, in place."""
    runs = len(canvases)
    gain = rng.uniform(0.75, 1.15, (runs, 1, 1, 1, 1)) * rng.uniform(0.93, 1.07, (runs, 1, 3, 1, 1))
    negative = rng.random((runs, 1, 1, 1, 1)) < 0.08
    shift = rng.uniform(-0.1, 0.1, (runs, 1, 1, 1, 1))
    canvases.mul_(torch.from_numpy(np.where(negative, -gain, gain)).float()).add_(torch.from_numpy(shift).float()).clamp_(-1, 1)
    for run in np.flatnonzero(rng.random(runs) < 0.3).tolist():
        canvases[run] = canvases[run][:, torch.from_numpy(rng.permutation(3))]
    return canvases
