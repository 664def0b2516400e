"""The production predictor: equal results in every batching, smaller batches if memory is short, and errors that name a bad entry."""

import gc
import io
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import structlog
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmarks.reference import Reference
from core.errors import CheckpointError, CorruptInputError, PermanentError, TransientError
from inference.architectures.channel_fusion_lora_spatial.predictor import ChannelFusionPredictor
from inference.engine.predictor import Checkpoint, EngineOptions
from inference.models.builtin import builtin_checkpoint_path
from inference.models.loading import load_predictor
from tests.inference.conformance import TOLERANCE, load_case
from tests.inference.webm import random_frames

STRIPS = load_case("tile-right")
FRAMES = STRIPS.spans[0][:9]


@pytest.fixture(scope="module")
def base(production_predictor: ChannelFusionPredictor) -> ChannelFusionPredictor:
    return ChannelFusionPredictor(production_predictor.classifier, replace(production_predictor.options, batch_size=8))


@settings(max_examples=5, deadline=None)
@given(batch_size=st.integers(1, 12), first=st.integers(0, 7), count=st.integers(2, 9))
def test_a_pair_has_one_result_in_every_batching(base: ChannelFusionPredictor, batch_size: int, first: int, count: int) -> None:
    """A pair's probabilities agree within 1e-5 whatever the batch size and the other pairs in the batch are."""
    other = ChannelFusionPredictor(base.classifier, replace(base.options, batch_size=batch_size))
    part = FRAMES[first : first + count]
    probabilities = other.predict(other.open_video(STRIPS.layout), part)
    assert probabilities.shape == (len(part) - 1, 2, 5)
    assert np.abs(probabilities - STRIPS.expected[first : first + len(part) - 1]).max() < 1e-5


def test_a_pair_has_one_result_in_either_span(base: ChannelFusionPredictor) -> None:
    """Frames around the border of two spans give the same result in one span, in the other, and in one batch with both."""
    strips = load_case("spans-center")
    video, (before, after) = base.open_video(strips.layout), strips.spans
    whole = base.predict(video, np.concatenate([before[-3:], after[1:3]]))
    parts = [base.predict(video, before[-3:]), base.predict(video, after[:3])]
    assert np.abs(whole - np.concatenate(parts)).max() < 1e-5
    assert np.abs(whole - strips.expected[len(before) - 3 :][:4]).max() < 1e-5


def test_the_same_span_gives_the_same_bytes(base: ChannelFusionPredictor) -> None:
    """Predicting the same frames twice, with frames of another size in between, gives the same bytes."""
    once = base.predict(base.open_video(STRIPS.layout), FRAMES)
    base.predict(base.open_video(STRIPS.layout), random_frames(3, 20, 90))
    assert base.predict(base.open_video(STRIPS.layout), FRAMES).tobytes() == once.tobytes()


def test_probabilities_sum_to_one_and_a_single_frame_has_none(base: ChannelFusionPredictor) -> None:
    """Each direction has five probabilities that sum to one; a single frame gives no pair."""
    video = base.open_video(STRIPS.layout)
    assert base.predict(video, FRAMES[:3]).sum(-1) == pytest.approx(np.ones((2, 2)))
    assert base.predict(video, FRAMES[:1]).shape == (0, 2, 5)


class ShortOfMemory:
    """A classifier on a device with memory for only ``room`` pairs."""

    def __init__(self, classifier: Any, room: int) -> None:
        self.classifier, self.room, self.batches = classifier, room, list[int]()
        self.ocr_part = classifier.ocr_part

    def __call__(self, strips: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(strips) - 1)
        if len(strips) - 1 > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        result: torch.Tensor = self.classifier(strips, *rest)
        return result


def test_out_of_memory_halves_the_batch(base: ChannelFusionPredictor) -> None:
    """The batch is halved until it fits and stays so, each halving is logged, and every pair is in its place."""
    short = ShortOfMemory(base.classifier, room=3)
    predictor = ChannelFusionPredictor(short, base.options)
    with structlog.testing.capture_logs() as logs:
        probabilities = predictor.predict(predictor.open_video(STRIPS.layout), FRAMES)
    assert np.abs(probabilities - STRIPS.expected[:8]).max() < TOLERANCE
    assert short.batches == [8, 4, 2, 2, 2, 2]
    assert predictor.options.batch_size == 2
    assert [(entry["event"], entry["next_batch_size"]) for entry in logs] == [("engine.out_of_memory", 4), ("engine.out_of_memory", 2)]


def test_a_frame_too_many_for_upload_halves_the_batch(base: ChannelFusionPredictor, monkeypatch: pytest.MonkeyPatch) -> None:
    """If memory runs short while frames are uploaded and resized, the batch is halved too."""
    predictor = ChannelFusionPredictor(base.classifier, base.options)
    video, upload = predictor.open_video(STRIPS.layout), predictor._upload

    def short(images: np.ndarray) -> torch.Tensor:
        if len(images) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return upload(images)

    monkeypatch.setattr(predictor, "_upload", short)
    with structlog.testing.capture_logs() as logs:
        probabilities = predictor.predict(video, FRAMES)
    assert np.abs(probabilities - STRIPS.expected[:8]).max() < TOLERANCE
    assert predictor.options.batch_size == 4
    assert [(entry["event"], entry["next_batch_size"]) for entry in logs] == [("engine.out_of_memory", 4)]


@pytest.mark.parametrize("architecture", ["production", "built in"])
def test_another_batch_is_not_compiled_anew(base: ChannelFusionPredictor, architecture: str) -> None:
    """If the compiled batch does not fit into memory, smaller batches run uncompiled, and the options show it."""
    predictor: Any = ChannelFusionPredictor(base.classifier, base.options)
    if architecture == "built in":
        predictor = load_predictor(builtin_checkpoint_path(), base.options)
    expected = predictor.predict(predictor.open_video(STRIPS.layout), FRAMES)

    def full(*_: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    predictor._compiled = full
    predictor.options = replace(predictor.options, compile=True)
    probabilities = predictor.predict(predictor.open_video(STRIPS.layout), FRAMES)
    assert (predictor.options.batch_size, predictor.options.compile) == (4, False)
    assert np.abs(probabilities - expected).max() < 1e-5


def test_each_frame_goes_up_once(base: ChannelFusionPredictor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each frame is uploaded once, including the frame that two batches share."""
    predictor = ChannelFusionPredictor(base.classifier, replace(base.options, batch_size=3))
    video, upload, uploaded = predictor.open_video(STRIPS.layout), predictor._upload, []
    monkeypatch.setattr(predictor, "_upload", lambda images: uploaded.append(len(images)) or upload(images))
    probabilities = predictor.predict(video, FRAMES)
    assert uploaded == [4, 3, 2]
    assert np.abs(probabilities - STRIPS.expected[:8]).max() < TOLERANCE


def test_a_predictor_goes_with_its_last_user(base: ChannelFusionPredictor) -> None:
    """A predictor is freed with its last reference, because the garbage collector does not see memory on a device."""
    predictor = ChannelFusionPredictor(base.classifier, base.options)
    predictor.predict(predictor.open_video(STRIPS.layout), FRAMES[:2])
    gone = weakref.ref(predictor)
    gc.disable()
    try:
        del predictor
        assert gone() is None
    finally:
        gc.enable()


def test_no_memory_for_the_ocr_visualisation_is_transient(base: ChannelFusionPredictor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Running out of memory for the OCR visualisation is transient: it is one image, so nothing can be halved."""
    predictor = ChannelFusionPredictor(base.classifier, base.options)

    def short(images: np.ndarray) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(predictor, "_upload", short)
    with pytest.raises(TransientError, match="out of memory with the layout's OCR visualisation"):
        predictor.open_video(STRIPS.layout)


def test_no_memory_for_one_pair_is_transient(base: ChannelFusionPredictor) -> None:
    """Running out of memory for a single pair is transient."""
    predictor = ChannelFusionPredictor(ShortOfMemory(base.classifier, room=0), base.options)
    with pytest.raises(TransientError, match="out of memory with one pair a batch"):
        predictor.predict(predictor.open_video(STRIPS.layout), FRAMES)


class Overflowing(ShortOfMemory):
    """A classifier whose activations leave the precision's range."""

    def __call__(self, strips: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        return torch.full((len(strips) - 1, 2, 5), torch.nan)


def test_an_output_that_is_not_finite_is_an_error(base: ChannelFusionPredictor) -> None:
    """The predictor never returns NaN as a probability."""
    predictor = ChannelFusionPredictor(Overflowing(base.classifier, room=9), base.options)
    with pytest.raises(PermanentError, match="not finite in float32"):
        predictor.predict(predictor.open_video(STRIPS.layout), FRAMES)


@pytest.mark.parametrize("image", [b"", b"\x89PNG\r\n\x1a\n broken", STRIPS.layout.ocr_image[:200]], ids=["empty", "junk", "truncated"])
def test_a_broken_ocr_visualisation_is_refused(base: ChannelFusionPredictor, image: bytes) -> None:
    """The error says that the layout's image is broken, and gives its size."""
    with pytest.raises(CorruptInputError, match=rf"OCR visualisation \({len(image)} bytes\) is not a readable image"):
        base.open_video(replace(STRIPS.layout, ocr_image=image))


@pytest.mark.parametrize(("size", "form", "says"), [((1, 20_000), "PNG", "1×20000 pixels"), ((30, 20), "GIF", "not a readable image")])
def test_an_ocr_visualisation_of_another_kind_is_refused(base: ChannelFusionPredictor, size: tuple[int, int], form: str, says: str) -> None:
    """An image so long that resizing it would take gigabytes, or in an unsupported format, is rejected."""
    file = io.BytesIO()
    Image.new("RGB", size).save(file, form)
    with pytest.raises(CorruptInputError, match=says):
        base.open_video(replace(STRIPS.layout, ocr_image=file.getvalue()))


@pytest.mark.parametrize(("rank", "alpha"), [(4, 16), (16, 8), (32, 24.5)])
def test_any_lora_rank_and_alpha(conformance_checkpoint: Checkpoint, rank: int, alpha: float) -> None:
    """LoRA weights of any rank and scale merge into what the plain reference computes with them."""
    config = {**conformance_checkpoint.config, "model_config": {"lora_rank": rank, "lora_alpha": alpha}, "transform_strategy": "adaptive"}
    random = torch.Generator().manual_seed(rank)
    state = dict(conformance_checkpoint.state)
    for name, value in state.items():
        if "lora_A" in name:
            state[name] = torch.randn((rank, *value.shape[1:]), generator=random) * value.shape[1] ** -0.5 / 4
        elif "lora_B" in name:
            state[name] = torch.randn((len(value), rank, 1, 1), generator=random) * rank**-0.5 / 4
    predictor = load_predictor(replace(conformance_checkpoint, config=config, state=state), EngineOptions())
    probabilities = predictor.predict(predictor.open_video(STRIPS.layout), FRAMES[:3])
    assert np.abs(probabilities - Reference(config, state).predict(STRIPS.layout, FRAMES[:3])).max() < 1e-5


def _without(state: dict[str, torch.Tensor]) -> None:
    del state["backbone.5.0.downsample.0.lora_A.weight"]


def _with_more(state: dict[str, torch.Tensor]) -> None:
    state["backbone.9.weight"] = torch.zeros(3)


def _misshapen(state: dict[str, torch.Tensor]) -> None:
    state["fusion_mlp.0.weight"] = torch.zeros(1024, 2048)


def _with_nan(state: dict[str, torch.Tensor]) -> None:
    state["backbone.4.1.bn2.running_var"] = torch.full((64,), torch.nan)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_without, r"entry backbone\.5\.0\.downsample\.0\.lora_A\.weight: missing"),
        (_with_more, r"entry backbone\.9\.weight: not part of the architecture"),
        (_misshapen, r"entry fusion_mlp\.0\.weight: shape \(1024, 2048\), expected \(1024, 2176\)"),
        (_with_nan, r"entry backbone\.4\.1\.bn2\.running_var: holds NaN"),
    ],
)
def test_a_wrong_checkpoint_is_refused_by_name(
    conformance_checkpoint: Checkpoint, spoil: Callable[[dict[str, torch.Tensor]], None], message: str
) -> None:
    """The error names the file and the entry, and what was expected."""
    state = dict(conformance_checkpoint.state)
    spoil(state)
    with pytest.raises(CheckpointError, match=rf"^{conformance_checkpoint.path}: .*{message}"):
        load_predictor(replace(conformance_checkpoint, state=state), EngineOptions())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"transform_strategy": "stretch"}, "transform_strategy is 'stretch', expected one of mirror_tile, crop, adaptive"),
        ({"model_config": {"num_classes": 4}}, "num_classes is 4, expected 5"),
        ({"model_config": {"lora_rank": 0}}, "lora_rank is 0, expected a positive integer"),
        ({"model_config": {"lora_alpha": "x"}}, "lora_alpha is 'x', expected a number"),
        ({"model_config": {"lora_rank": 8}}, r"lora_A\.weight: shape \(16, \d+, 1, 1\), expected \(8, "),
    ],
)
def test_a_config_that_does_not_fit_is_refused(conformance_checkpoint: Checkpoint, change: dict[str, Any], message: str) -> None:
    """A config that describes another network, or does not fit the weights, is rejected."""
    with pytest.raises(CheckpointError, match=message):
        load_predictor(replace(conformance_checkpoint, config={**conformance_checkpoint.config, **change}), EngineOptions())
