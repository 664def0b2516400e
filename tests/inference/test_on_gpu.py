"""The same network on a GPU gives the old service's results in every precision and the same bytes each time, with one compilation."""

from functools import cache

import numpy as np
import pytest
import torch
import torch._dynamo
from torch._dynamo.utils import counters

from core.types import Anchor, Precision
from inference.architectures.channel_fusion_lora_spatial.strips import fit_on_device, fit_with_pillow
from inference.engine.predictor import Checkpoint, EngineOptions, Predictor
from inference.models.builtin import builtin_checkpoint_path
from inference.models.loading import load_predictor
from tests.inference.conformance import CASES, TOLERANCE, load_case

pytestmark = pytest.mark.gpu

DEVICE = "cuda"


def load(checkpoint: Checkpoint, options: EngineOptions) -> Predictor:
    """Load a predictor and check that it runs with the requested options."""
    predictor = load_predictor(checkpoint, options)
    assert predictor.options == options
    return predictor


stored = cache(load_case)


@pytest.mark.parametrize("compiled", [False, True], ids=["plain", "compiled"])
def test_float32_gives_the_old_probabilities(conformance_checkpoint: Checkpoint, compiled: bool) -> None:
    """In float32 every probability of every case is the old service's within the tolerance, with TF32 off."""
    predictor = load(conformance_checkpoint, EngineOptions(DEVICE, compile=compiled))
    for case in CASES:
        assert np.abs(stored(case).predict(predictor) - stored(case).expected).max() < TOLERANCE


@pytest.mark.parametrize("compiled", [False, True], ids=["plain", "compiled"])
@pytest.mark.parametrize("precision", [Precision.BFLOAT16, Precision.FLOAT16])
def test_half_precision_gives_the_same_labels(conformance_checkpoint: Checkpoint, precision: Precision, compiled: bool) -> None:
    """At least 99.5 % of all labels, over all cases, are the same as in float32."""
    predictor = load(conformance_checkpoint, EngineOptions(DEVICE, precision, compile=compiled))
    agree = [stored(case).predict(predictor).argmax(-1) == stored(case).expected.argmax(-1) for case in CASES]
    assert np.concatenate(agree).mean() >= 0.995


@pytest.mark.parametrize("precision", list(Precision))
def test_the_same_span_gives_the_same_bytes(conformance_checkpoint: Checkpoint, precision: Precision) -> None:
    """Two predictors give the same bytes for the same frames, even if the second has seen other frames first."""
    strips = stored("spans-center")
    once, again = (load(conformance_checkpoint, EngineOptions(DEVICE, precision, compile=True)) for _ in range(2))
    expected = once.predict(once.open_video(strips.layout), strips.spans[0]).tobytes()
    stored("crop-right").predict(again)
    assert again.predict(again.open_video(strips.layout), strips.spans[0]).tobytes() == expected


def test_a_pair_has_one_result_in_every_batching(conformance_checkpoint: Checkpoint) -> None:
    """In float32 a pair's probabilities agree within 1e-5 for all batch sizes."""
    strips = stored("tile-right")
    results = []
    for batch_size in (1, 5, 32, 128):
        predictor = load(conformance_checkpoint, EngineOptions(DEVICE, batch_size=batch_size))
        results.append(strips.predict(predictor))
    assert max(np.abs(result - results[0]).max() for result in results) < 1e-5


def test_nothing_compiles_anew_between_spans_and_strips(conformance_checkpoint: Checkpoint) -> None:
    """One graph serves every number of pairs and every strip size."""
    torch._dynamo.reset()
    counters.clear()
    predictor = load(conformance_checkpoint, EngineOptions(DEVICE, compile=True, batch_size=3))
    assert predictor.options.compile
    for case, frames in (("tile-right", 2), ("crop-right", 6), ("tile-left", 4)):
        predictor.predict(predictor.open_video(stored(case).layout), stored(case).spans[0][:frames])
    assert counters["stats"]["unique_graphs"] == 1


@pytest.mark.parametrize("anchor", list(Anchor))
@pytest.mark.parametrize("case", CASES)
def test_strips_are_fitted_as_by_pillow(case: str, anchor: Anchor) -> None:
    """At least 99.99 % of the values resized, cropped and mirrored on the device differ from Pillow's by at most 1."""
    frames = stored(case).spans[0][::5]
    size, host = frames.shape[1:3], torch.from_numpy(frames)
    expected = fit_with_pillow(*size, anchor, torch.device("cpu"))(host)
    fitted = fit_on_device(*size, anchor, torch.device(DEVICE))(host.to(DEVICE)).cpu()
    assert ((fitted.int() - expected.int()).abs() <= 1).float().mean() >= 0.9999


def test_the_built_in_model_finds_the_same() -> None:
    """At least 99.5 % of the built-in model's labels are the same as on a CPU."""
    strips = stored("spans-center")
    here, there = (load_predictor(builtin_checkpoint_path(), EngineOptions(device)) for device in ("cpu", DEVICE))
    assert (strips.predict(there).argmax(-1) == strips.predict(here).argmax(-1)).mean() >= 0.995
