"""Predicts a sample of a run's pairs again, from the frames in the store and the run's own model."""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from uuid import UUID

import numpy as np

from cli.film.engine import Engine, Model, choose_model
from cli.film.runs.opened_run import OpenedRun
from cli.film.runs.run_frames import read_frames
from core.errors import CorruptInputError, MissingObjectError, PermanentError
from core.labels import mean_probabilities
from core.settings import Settings
from core.types import LABELS, Layout, Precision
from inference.arrays import Frames
from inference.engine.predictor import Predictor
from storage.connect import object_keys
from storage.layouts import fetch_layout
from storage.objects import ObjectStore
from storage.run_db_reader import RunDatabase

TOLERANCES: Final[Mapping[Precision, float]] = {Precision.FLOAT32: 1e-3, Precision.BFLOAT16: 0.05, Precision.FLOAT16: 0.05}
"""Tolerance for probabilities. Two machines differ by a tenth of it; other weights or frames differ by much more."""

PLACES_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class Recomputed:
    """The result of predicting pairs again.

    Attributes:
        pairs: how many were predicted.
        difference: largest difference of a probability.
        fault: how the run differs beyond rounding; None if it does not.
        skipped: why nothing was predicted, although the run may be right; None if pairs were predicted.
    """

    pairs: int = 0
    difference: float = 0.0
    fault: str | None = None
    skipped: str | None = None


@dataclass(slots=True)
class Recomputer:
    """Loads each model once. Calls do not overlap.

    Attributes:
        sample: pairs of each run.
        seed: determines which pairs are drawn.
    """

    settings: Settings
    store: ObjectStore
    sample: int
    seed: int
    _loaded: dict[tuple[str, Precision], tuple[Model, Predictor]] = field(default_factory=dict)

    async def check(self, run: RunDatabase, row: Mapping[str, Any]) -> Recomputed:
        """Predict pairs of a run again.

        Args:
            row: the run's row. It has the ids, which databases of the former service lack.

        Raises:
            TransientError: the store cannot be reached.
        """
        tenant_id, video_id = UUID(row["tenant_id"]), UUID(row["video_id"])
        ids = {"tenant_id": str(tenant_id), "video_id": str(video_id)}
        named = replace(run, provenance={**ids, **run.provenance}, cropped_frames_version=row["cropped_frames_version"])
        try:
            stored = await fetch_layout(self.store, object_keys(self.settings.keys), tenant_id, video_id)
            if stored.sha256 != run.provenance.get("layout_sha256", stored.sha256):
                return Recomputed(skipped="the video's layout has changed since the run")
            return await asyncio.to_thread(self._check, named, stored.layout)
        except CorruptInputError as error:
            return Recomputed(fault=f"its frames cannot be read: {error}")
        except MissingObjectError as error:
            return Recomputed(skipped=str(error))
        except PermanentError as error:  # the model is gone, or does not load here
            return Recomputed(skipped=f"model {run.model_version}: {error}")

    def _check(self, run: RunDatabase, layout: Layout) -> Recomputed:
        precision = Precision(run.provenance.get("precision", Precision.FLOAT32))
        model, predictor = self._load(run.model_version, precision)
        expected = run.provenance.get("checkpoint_sha256", model.sha256)
        if model.sha256 != expected:
            return Recomputed(fault=f"model {run.model_version} has SHA-256 {model.sha256[:12]}..., but the run used {expected[:12]}...")
        pairs = self._draw(run)
        frames = _read(run, pairs)
        opened = predictor.open_video(layout)
        recomputed = np.concatenate([predictor.predict(opened, np.stack((frames[pair], frames[pair + 1]))) for pair in pairs])
        stored = run.probabilities[pairs]
        differences = np.abs(recomputed - stored).max(axis=(1, 2))
        wrong = [place for place in np.argsort(-differences).tolist() if differences[place] > TOLERANCES[precision]]
        likeliest = [mean_probabilities(values).argmax(axis=1) for values in (stored, recomputed)]
        listed = ", ".join(
            f"{pairs[place]} by {differences[place]:.3f} ({LABELS[likeliest[0][place]]}, now {LABELS[likeliest[1][place]]})"
            for place in wrong[:PLACES_SHOWN]
        )
        fault = f"{len(wrong)} of {len(pairs)} pairs differ when predicted again: {listed}" if wrong else None
        return Recomputed(len(pairs), float(differences.max()), fault)

    def _draw(self, run: RunDatabase) -> list[int]:
        """Draw pairs; the same seed gives the same pairs. Pairs that the former service left out cannot be compared."""
        there = sorted(set(range(run.pairs)) - set(run.missing_pairs))
        return sorted(random.Random(f"{self.seed}/{run.run_id}").sample(there, min(self.sample, len(there))))  # noqa: S311 - a sample

    def _load(self, version: str, precision: Precision) -> tuple[Model, Predictor]:
        if (version, precision) not in self._loaded:
            model = choose_model(self.settings, model_version=version)
            settings = self.settings.worker.model_copy(update={"compile": False})  # compiling takes longer than a sample
            self._loaded[version, precision] = model, Engine(settings, precision).load(model)
        return self._loaded[version, precision]


def _read(run: RunDatabase, pairs: list[int]) -> dict[int, Frames]:
    wanted = {frame for pair in pairs for frame in (pair, pair + 1)}
    return read_frames(OpenedRun(run, None), None, wanted, lambda picture: picture.copy(), lambda done, total: None)
