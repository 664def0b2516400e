"""Batches for training: short runs of frames from many clips, with the truth of pairs near and farther apart."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from core.captions import DIFFERENT, EMPTY_EMPTY, EMPTY_VALID, SAME, VALID_EMPTY
from inference.training.data import CLIP_FRAMES, TrainingSet

RUN_FRAMES: Final = 9
STRIDES: Final = (1, 3)  # neighbours, as in use, and frames farther apart, between which the ground has moved more
_UNSURE: Final = (0.4, 0.6)  # visibility between which presence is a matter of definition
_UNSURE_WEIGHT: Final = 0.5
_BOUNDARY_WEIGHT: Final = 1.5  # boundaries are rarer than what lies between and matter more


@dataclass(frozen=True, slots=True)
class Batch:
    """Runs of frames; labels and weights of their pairs stride by stride, in each forward first, as ``contrast`` orders them."""

    canvases: torch.Tensor  # (runs, frames, 3, 32, 512) in about -1..1
    cover: torch.Tensor  # (runs, frames, 8, 128), 0..1
    labels: torch.Tensor  # (pairs of both directions,)
    weights: torch.Tensor  # (pairs of both directions,)


def label_pairs(before: npt.NDArray[np.int_], after: npt.NDArray[np.int_]) -> npt.NDArray[np.int64]:
    """The label of each pair, from the numbers of the captions in its two frames (0 for none)."""
    both = np.where(before == after, SAME, DIFFERENT)
    present = np.where(after > 0, both, VALID_EMPTY)
    absent = np.where(after > 0, EMPTY_VALID, EMPTY_EMPTY)
    return np.where(before > 0, present, absent).astype(np.int64)


def draw_batches(data: TrainingSet, clips_per_batch: int, seed: tuple[int, int], part: int, parts: int) -> Iterator[Batch]:
    """Pass once over all clips in a random order, taking one run of frames from each.

    Args:
        clips_per_batch: of all parts together.
        seed: of the training, and the number of this pass.
        part: which of ``parts`` equal shares of each batch to draw.
    """
    order = np.random.default_rng(seed).permutation(len(data))
    rng = np.random.default_rng((*seed, part))
    for start in range(0, len(order) - clips_per_batch + 1, clips_per_batch):
        yield _batch(data, np.sort(order[start + part : start + clips_per_batch : parts]), rng)


def _batch(data: TrainingSet, clips: npt.NDArray[np.int_], rng: np.random.Generator) -> Batch:
    begins = rng.integers(0, CLIP_FRAMES - RUN_FRAMES + 1, len(clips))
    runs = [(clip, slice(begin, begin + RUN_FRAMES)) for clip, begin in zip(clips, begins, strict=True)]
    strips = np.stack([data.strips[run] for run in runs])
    cover = np.stack([data.cover[run] for run in runs])
    caption = np.stack([data.caption[run] for run in runs]).astype(np.int_)
    visibility = np.stack([data.visibility[run] for run in runs])
    unsure = (visibility > _UNSURE[0]) & (visibility < _UNSURE[1])
    labels, doubts = [], []
    for stride in STRIDES:
        before, after = caption[:, :-stride].ravel(), caption[:, stride:].ravel()
        labels += [label_pairs(before, after), label_pairs(after, before)]
        doubts += 2 * [(unsure[:, :-stride] | unsure[:, stride:]).ravel()]
    weights = np.where(np.concatenate(doubts), _UNSURE_WEIGHT, 1.0)
    weights *= np.where(np.isin(np.concatenate(labels), (SAME, EMPTY_EMPTY)), 1.0, _BOUNDARY_WEIGHT)
    return Batch(
        _augment(torch.from_numpy(strips), rng),
        torch.from_numpy(cover).float() / 255,
        torch.from_numpy(np.concatenate(labels)),
        torch.from_numpy(weights).float(),
    )


def _augment(strips: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """(clips, frames, 32, 512, 3) uint8 to canvases, with other colours, brightness and contrast for each clip."""
    clips = len(strips)
    gain = rng.uniform(0.75, 1.15, (clips, 1, 1, 1, 1)) * rng.uniform(0.93, 1.07, (clips, 1, 1, 1, 3))
    negative = rng.random((clips, 1, 1, 1, 1)) < 0.08
    shift = rng.uniform(-0.1, 0.1, (clips, 1, 1, 1, 1))
    factors = torch.from_numpy(np.where(negative, -gain, gain)).float() / 127.5
    offsets = torch.from_numpy(np.where(negative, gain, -gain) + shift).float()
    canvases = strips.float().mul_(factors).add_(offsets).clamp_(-1, 1)
    for clip in np.flatnonzero(rng.random(clips) < 0.3).tolist():
        canvases[clip] = canvases[clip][..., torch.from_numpy(rng.permutation(3))]
    return canvases.permute(0, 1, 4, 2, 3)  # channels last in memory
