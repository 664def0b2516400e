"""Run databases of films of any length. Their predictions are as confident as a trained model's, with a few exceptions."""

import numpy as np

from core.labels import DIFFERENT, EMPTY_EMPTY, EMPTY_VALID, REVERSED, SAME, VALID_EMPTY
from storage.run_db import build_run_db
from storage.run_db_reader import RunDatabase, read_run_db
from tests.storage.finished_runs import fixed_run

DOUBTFUL_SHARE = 0.03


def run_bytes(pairs: int, seed: int = 1) -> bytes:
    """Build captions of 1 to 6 seconds; in each direction 3 % of the boundaries have a low confidence."""
    chance = np.random.default_rng(seed)
    labels = _labels(pairs, chance)
    probabilities = np.zeros((pairs, 2, 5))
    boundary = np.isin(labels, (DIFFERENT, EMPTY_VALID, VALID_EMPTY))
    for direction in (0, 1):
        confidence = 1 - 10 ** -chance.uniform(1.5, 6, pairs)
        doubtful = boundary & (chance.random(pairs) < DOUBTFUL_SHARE)
        confidence[doubtful] = chance.uniform(0.35, 0.88, doubtful.sum())
        shown = labels if direction == 0 else np.array(REVERSED)[labels]
        others = np.ones((pairs, 5), bool)
        others[np.arange(pairs), shown] = False
        probabilities[np.arange(pairs), direction, shown] = confidence
        probabilities[:, direction][others] = (chance.dirichlet(np.full(4, 0.5), pairs) * (1 - confidence)[:, None]).reshape(-1)
    return build_run_db(fixed_run(pairs, probabilities=probabilities.clip(0, 1).astype(np.float32)))


def run_database(pairs: int, seed: int = 1) -> RunDatabase:
    return read_run_db(run_bytes(pairs, seed), "run.db")


def _labels(pairs: int, chance: np.random.Generator) -> np.ndarray:
    labels = np.empty(pairs, np.int64)
    valid, left = False, 15
    for pair in range(pairs):
        left -= 1
        if left > 0:
            labels[pair] = SAME if valid else EMPTY_EMPTY
        elif valid and chance.random() < 0.5:
            labels[pair], left = DIFFERENT, int(chance.integers(10, 60))
        else:
            labels[pair] = VALID_EMPTY if valid else EMPTY_VALID
            valid = not valid
            left = int(chance.integers(10, 60)) if valid else int(chance.integers(3, 40))
    return labels
