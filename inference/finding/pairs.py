"""Predicts the pairs of a zone's samples, running the network only where it may find a change.

First it compares samples ``STRIDE`` apart. If the network is sure that both show the same caption, or that both show none, the samples
between count as showing the same, and the pairs between get the probabilities of the two. If it is not sure, the middle sample is compared
with both, and so on down to neighbours. So near every boundary, and wherever the network hesitates, each pair is predicted by itself.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from core.labels import EMPTY_EMPTY, SAME, mean_probabilities
from core.types import LABELS
from inference.arrays import Features, Frames, Indices, Probabilities
from inference.engine.predictor import PairPredictor, Predictor

STRIDE: Final = 4
"""In samples. Whatever is shown only between two samples that show the same caption, or none, is not seen."""

_SURE: Final = 0.9  # probability of the same caption, or of none, from which the samples between are skipped


class Pairs:
    """Predicts consecutive pairs, one batch of samples after the other. Keeps the last sample between batches."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._last_strip: Frames | None = None
        self._last_features: Features | None = None

    def add(self, strips: Sequence[Frames]) -> Probabilities:
        """Return the probabilities of the pairs that these samples complete, (pairs, 2, 5)."""
        if isinstance(self._predictor, PairPredictor):
            return self._compare(self._predictor, np.stack(strips))
        frames = np.stack(([] if self._last_strip is None else [self._last_strip]) + list(strips))
        self._last_strip = frames[-1]
        return self._predictor.predict(None, frames)

    def _compare(self, predictor: PairPredictor, strips: Frames) -> Probabilities:
        kept = 0 if self._last_features is None else 1
        known = _Known(predictor, strips, self._last_features)
        last = len(strips) + kept - 1
        anchors = [*range(0, last, STRIDE), last]
        stretches = np.array([anchors[:-1], anchors[1:]], np.int64).T
        result = np.empty((last, 2, len(LABELS)), np.float32)
        while len(stretches):
            probabilities = known.compare(stretches)
            mean = mean_probabilities(probabilities)
            settled = (np.diff(stretches)[:, 0] == 1) | (mean[:, [SAME, EMPTY_EMPTY]].max(axis=1) >= _SURE)
            for (first, second), values in zip(stretches[settled], probabilities[settled], strict=True):
                result[first:second] = values
            first, second = stretches[~settled].T
            middle = (first + second) // 2
            stretches = np.stack([first, middle, middle, second], axis=1).reshape(-1, 2)
        self._last_features = known.features_of(last)
        return result


class _Known:
    """The features of a batch's samples, computed when they are first needed. Sample 0 is the last one of the batch before, if any."""

    def __init__(self, predictor: PairPredictor, strips: Frames, before: Features | None) -> None:
        self._predictor = predictor
        self._strips = strips
        self._kept = 0 if before is None else 1
        self._features: dict[int, Features] = {} if before is None else {0: before}  # by sample, each (1, ...)

    def compare(self, pairs: Indices) -> Probabilities:
        """Compare pairs of samples, (pairs, 2): (pairs, 2, 5)."""
        samples = np.unique(pairs)
        old = [sample for sample in samples.tolist() if sample in self._features]
        new = [sample for sample in samples.tolist() if sample not in self._features]
        kept = np.concatenate([self._features[sample] for sample in old]) if old else None
        places = {sample: place for place, sample in enumerate([*old, *new])}
        first, second = (np.array([places[sample] for sample in column], np.int64) for column in pairs.T.tolist())
        features, probabilities = self._predictor.extend(kept, self._strips[[sample - self._kept for sample in new]], first, second)
        self._features.update((sample, features[places[sample] : places[sample] + 1]) for sample in new)
        return probabilities

    def features_of(self, sample: int) -> Features:
        if sample not in self._features:
            none = np.empty(0, np.int64)
            self._features[sample] = self._predictor.extend(None, self._strips[sample - self._kept :][:1], none, none)[0]
        return self._features[sample].copy()  # not a view that keeps a whole batch in memory
