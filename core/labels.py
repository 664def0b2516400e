"""Turns the probabilities of frame pairs into one label per pair: the likeliest sequence in which each label can follow the last."""

from typing import Final

import numpy as np
import numpy.typing as npt

from core.types import LABELS

SAME, DIFFERENT, EMPTY_EMPTY, EMPTY_VALID, VALID_EMPTY = range(len(LABELS))

REVERSED: Final = [SAME, DIFFERENT, EMPTY_EMPTY, VALID_EMPTY, EMPTY_VALID]
"""The index of each label's probability if the pair is shown in the other order."""

PROBABILITY_FLOOR: Final = 1e-12
"""Replaces smaller probabilities, whose logarithm would exclude a sequence; far below any probability that matters."""

RUN_EVIDENCE: Final = 0.5
"""The weight, in pairs, of a run of pairs with the same likeliest label as evidence for staying in a state.

Neighbouring pairs show nearly the same picture, so a network that mistakes grass for letters does so ten times in a row:
ten pairs are no more evidence than one. With half a pair per run, a boundary needs its own evidence.
"""

FloatArray = npt.NDArray[np.float64]
LabelArray = npt.NDArray[np.int64]


def mean_probabilities(probabilities: npt.NDArray[np.float32]) -> FloatArray:
    """The mean of forward and backward, after reversing the backward labels: (pairs, 2, 5) to (pairs, 5)."""
    exact = probabilities.astype(np.float64)
    return np.asarray((exact[:, 0] + exact[:, 1, REVERSED]) / 2)


def consistent_labels(mean: FloatArray) -> LabelArray:
    """Find the likeliest sequence of labels in which each label can follow the one before.

    Viterbi over the frames' two states: ``same`` and ``different`` lead from valid to valid, ``empty_empty`` from empty to
    empty, and the other two as their names say. The logarithms of ``same`` and ``empty_empty`` are weighted by
    ``staying_weights``; the others count in full. A tie is resolved in favour of ``same`` over ``different``, and of coming
    from empty over coming from valid.

    Args:
        mean: (pairs, 5).

    Returns:
        (pairs,) indices into ``core.types.LABELS``.
    """
    log = np.log(np.maximum(mean, PROBABILITY_FLOOR))
    log[:, [SAME, EMPTY_EMPTY]] *= staying_weights(mean)[:, None]
    staying = np.where(log[:, DIFFERENT] > log[:, SAME], DIFFERENT, SAME)
    steps = np.column_stack((log[:, [EMPTY_EMPTY, VALID_EMPTY, EMPTY_VALID]], log[:, [SAME, DIFFERENT]].max(axis=1)))
    empty = valid = 0.0  # score of the best sequence that ends in this state
    came_from_valid: list[tuple[bool, bool]] = []  # per pair: for ending empty, for ending valid
    for empty_empty, valid_empty, empty_valid, valid_valid in steps.tolist():
        to_empty, to_empty_from_valid = empty + empty_empty, valid + valid_empty
        to_valid, to_valid_from_valid = empty + empty_valid, valid + valid_valid
        came_from_valid.append((to_empty_from_valid > to_empty, to_valid_from_valid > to_valid))
        empty, valid = max(to_empty, to_empty_from_valid), max(to_valid, to_valid_from_valid)

    labels = np.empty(len(mean), dtype=np.int64)
    is_valid = valid > empty
    for pair in range(len(mean) - 1, -1, -1):
        was_valid = came_from_valid[pair][is_valid]
        if was_valid:
            labels[pair] = staying[pair] if is_valid else VALID_EMPTY
        else:
            labels[pair] = EMPTY_VALID if is_valid else EMPTY_EMPTY
        is_valid = was_valid
    return labels


def staying_weights(mean: FloatArray) -> FloatArray:
    """Each pair's weight as evidence for staying in a state, 0..1: ``RUN_EVIDENCE`` divided among the pairs of its run.

    A run is a sequence of consecutive pairs with the same likeliest label.
    """
    likeliest = mean.argmax(axis=1)
    starts = np.flatnonzero(np.diff(likeliest, prepend=-1))
    lengths = np.diff(starts, append=len(likeliest))
    return np.repeat(RUN_EVIDENCE / lengths, lengths)
