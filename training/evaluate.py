"""Measures a checkpoint on clips that it was not trained on: other fonts, other footage, encoded as VP9 chunks and decoded again.

Pairs are counted by their own most likely label (mean of both directions), before they are made consistent with each other.
Captions and boundaries are counted afterwards, as the run database has them. If a caption is 20 to 80 % visible in a frame,
no label of its pairs is right beyond doubt: ``pairs`` leaves them out, ``pairs_strict`` counts them. A caption need not be
found if the clip begins or ends before it is more than 80 % visible.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from core.accuracy import boundaries, count_matching_boundaries, match_captions, share
from core.captions import find_captions
from core.labels import mean_probabilities
from inference.engine.predictor import Frames, Predictor
from training.batches import label_pairs
from training.synthetic.clip import Stage, make_clip
from training.synthetic.codec import store
from training.synthetic.fonts import HELD_OUT_FAMILIES, FontShelf
from training.synthetic.ground import HELD_OUT_SHOTS
from training.synthetic.kinds import RECIPES, Kind

CLIP_FRAMES: Final = 65  # one more than four frames of level 16
CLIPS_PER_KIND: Final = 144
FOOTAGE_SHARE: Final = 0.8
SEED: Final = 95_001
_DOUBTFUL: Final = (0.2, 0.8)


@dataclass(frozen=True, slots=True)
class KnownClip:
    """Strips as a worker decodes them, and their true captions."""

    kind: Kind
    strips: Frames
    caption: npt.NDArray[np.int64]
    visibility: npt.NDArray[np.float32]


@dataclass(slots=True)
class Tally:
    """Counts over the clips of one kind. ``matched`` boundaries and ``found`` captions are within one frame of the truth."""

    clips: int = 0
    pairs: int = 0
    pairs_right: int = 0
    pairs_strict: int = 0
    pairs_strict_right: int = 0
    captions: int = 0
    captions_found: int = 0
    captions_exact: int = 0
    boundaries_true: int = 0
    boundaries_said: int = 0
    boundaries_matched: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(*(mine + its for mine, its in zip(asdict(self).values(), asdict(other).values(), strict=True)))

    def shares(self) -> dict[str, float]:
        """Return the table's figures, 0..1."""
        return {
            "pairs": share(self.pairs_right, self.pairs),
            "pairs_strict": share(self.pairs_strict_right, self.pairs_strict),
            "captions": share(self.captions_found, self.captions),
            "captions_exact": share(self.captions_exact, self.captions),
            "precision": share(self.boundaries_matched, self.boundaries_said),
            "recall": share(self.boundaries_matched, self.boundaries_true),
        }


def evaluate(predictor: Predictor, clips: Iterable[KnownClip]) -> dict[Kind, Tally]:
    """Measure a predictor on the clips, kind by kind."""
    tallies: dict[Kind, Tally] = {}
    for clip in clips:
        tallies[clip.kind] = tallies.get(clip.kind, Tally()) + judge(clip, predictor.predict(None, clip.strips))
    return tallies


def make_test_clips(fonts: Path, kinds: Iterable[Kind], clips_per_kind: int, workers: int, seed: int = SEED) -> Iterator[KnownClip]:
    """Yield the test clips, kind by kind. Other processes make them while earlier ones are measured."""
    jobs = [(fonts, kind, number, seed) for kind in kinds for number in range(clips_per_kind)]
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(_make, jobs, chunksize=4)


def _make(job: tuple[Path, Kind, int, int]) -> KnownClip:
    fonts, kind, number, seed = job
    rng = np.random.default_rng([seed, list(Kind).index(kind), number])
    clip = make_clip(rng, RECIPES[kind], Stage(FontShelf(fonts, HELD_OUT_FAMILIES), HELD_OUT_SHOTS, FOOTAGE_SHARE), CLIP_FRAMES)
    strips = store(clip, 16 * int(rng.integers(4)))
    return KnownClip(kind, strips, clip.caption, clip.visibility)


def judge(clip: KnownClip, probabilities: npt.NDArray[np.float32]) -> Tally:
    """Compare the predictions for one clip with the truth."""
    truth = label_pairs(clip.caption[:-1], clip.caption[1:])
    right = mean_probabilities(probabilities).argmax(1) == truth
    doubtful = (clip.visibility > _DOUBTFUL[0]) & (clip.visibility < _DOUBTFUL[1])
    counted = ~(doubtful[:-1] | doubtful[1:])
    predicted = [(caption.first_frame, caption.last_frame) for caption in find_captions(probabilities).captions]
    real = extents(clip.caption)
    shown = [(first, end) for first, end in real if clip.visibility[first : end + 1].max() >= _DOUBTFUL[1]]
    true_boundaries, predicted_boundaries = (boundaries(captions, len(clip.caption)) for captions in (real, predicted))
    return Tally(
        clips=1,
        pairs=int(counted.sum()),
        pairs_right=int(right[counted].sum()),
        pairs_strict=len(right),
        pairs_strict_right=int(right.sum()),
        captions=len(shown),
        captions_found=len(match_captions(shown, predicted)),
        captions_exact=len(set(shown) & set(predicted)),
        boundaries_true=len(true_boundaries),
        boundaries_said=len(predicted_boundaries),
        boundaries_matched=count_matching_boundaries(true_boundaries, predicted_boundaries),
    )


def extents(caption: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return the first and last frame of each caption, from the number of the caption in each frame."""
    edges = np.flatnonzero(np.diff(caption, prepend=-1, append=-1))
    return [(a, b - 1) for a, b in pairwise(edges.tolist()) if caption[a]]
