"""What a user should look at first: doubtful boundaries and quality issues, most doubtful first."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Final

import numpy as np

from core.captions import CaptionTrack
from core.labels import DIFFERENT, EMPTY_VALID, REVERSED, VALID_EMPTY, FloatArray
from storage.run_db_reader import RunDatabase

DOUBTFUL: Final = 0.9
"""A boundary is worth a look if either direction has a lower confidence than this."""

MAX_ITEMS: Final = 200
"""More than anybody checks in one go. The timeline marks all of them."""


@dataclass(frozen=True, slots=True)
class Attention:
    """A pair to look at. ``score`` is the lower of both directions' confidences in the label that is used."""

    pair: int
    score: float
    reason: str


def read_forward(run: RunDatabase) -> FloatArray:
    """Return probabilities with the backward labels reversed: (pairs, 2, 5)."""
    return np.stack((run.probabilities[:, 0], run.probabilities[:, 1][:, REVERSED]), axis=1).astype(np.float64)


def boundaries(track: CaptionTrack) -> list[int]:
    """Return the pairs at which a caption begins or ends, ascending."""
    pairs: list[int] = np.flatnonzero(np.isin(track.labels, (DIFFERENT, EMPTY_VALID, VALID_EMPTY))).tolist()
    return pairs


def rank(run: RunDatabase) -> list[Attention]:
    """Return every pair that deserves a look, least certain first; at most ``MAX_ITEMS``."""
    scores = _scores(run)
    reasons: dict[int, list[str]] = defaultdict(list)
    for pair in boundaries(run.track):
        if scores[pair] < DOUBTFUL:
            reasons[pair].append("uncertain boundary")
    for issue in run.track.issues:
        pair = max(0, issue.frame_index - 1) if issue.kind in ("single_frame", "doubtful") else issue.frame_index
        reasons[min(pair, run.pairs - 1)].append(issue.kind.replace("_", " "))
    ranked = sorted(reasons, key=lambda pair: (scores[pair], pair))[:MAX_ITEMS]
    return [Attention(pair, float(scores[pair]), ", ".join(dict.fromkeys(reasons[pair]))) for pair in ranked]


def worst_boundaries(run: RunDatabase, count: int) -> list[int]:
    """Return the pairs to show strips of: first those of ``rank``, then the least certain of the other boundaries."""
    scores = _scores(run)
    ranked = [item.pair for item in rank(run)]
    others = sorted(set(boundaries(run.track)) - set(ranked), key=lambda pair: (scores[pair], pair))
    return [*ranked, *others][:count]


def _scores(run: RunDatabase) -> FloatArray:
    """(pairs,): the lower of both directions' probabilities of the label that is used."""
    used = run.track.labels[:, None, None]  # (pairs, 1, 1)
    return np.asarray(np.take_along_axis(read_forward(run), used, axis=2).min(axis=(1, 2)))
