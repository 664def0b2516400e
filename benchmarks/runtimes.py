"""Compares the engine with ONNX Runtime and OpenVINO, a user's alternatives, on the same merged network, strips and batches."""

import statistics
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmarks.engine import BATCH, STRIP, predict
from benchmarks.measure import median_ratio, take_turns
from benchmarks.results import Result, Value
from benchmarks.strips import synthetic_layout, synthetic_strips
from benchmarks.weights import build_checkpoint
from core.types import LABELS, Precision
from inference.architectures.channel_fusion_lora_spatial import ChannelFusionPredictor, Classifier
from inference.architectures.channel_fusion_lora_spatial.strips import HEIGHT, WIDTH
from inference.engine.predictor import EngineOptions
from inference.models.loading import load_predictor
from inference.telemetry import disable_onnxruntime_telemetry

Arrays = dict[str, npt.NDArray[Any]]
Run = Callable[[Arrays], npt.NDArray[np.float32]]

_INPUTS: Final = ("strips", "ocr_part", "spatial")
_OUTPUT: Final = "probabilities"
_PRECISIONS: Final = (Precision.FLOAT32, Precision.BFLOAT16)


def measure_runtimes() -> Result:
    """Measure each runtime's pairs per second, and the ratio of ours to each in the same precision."""
    checkpoint = build_checkpoint()
    frames, layout = synthetic_strips(*STRIP, BATCH + 1), synthetic_layout(*STRIP)
    plain = EngineOptions(batch_size=BATCH, channels_last=False)  # the other runtimes choose their own memory layout
    exported = load_predictor(checkpoint, plain)
    if not isinstance(exported, ChannelFusionPredictor):
        raise TypeError(
            f"{checkpoint.architecture_name} runs in a {type(exported).__name__}; only a ChannelFusionPredictor's network is exported"
        )
    classifier = exported.classifier
    model = _export(classifier)
    theirs = {
        ("ONNX Runtime", Precision.FLOAT32): _onnx_runtime(model),
        ("OpenVINO", Precision.FLOAT32): _openvino(model, "f32"),
        ("OpenVINO", Precision.BFLOAT16): _openvino(model, "bf16"),
    }
    ours = {precision: load_predictor(checkpoint, EngineOptions("cpu", precision, BATCH, compile=True)) for precision in _PRECISIONS}
    others = {name: ChannelFusionPredictor(_Foreign(classifier, run), plain) for name, run in theirs.items()}
    exact = exported.predict(exported.open_video(layout), frames)
    contenders = {f"engine {precision}": predict(engine, layout, frames) for precision, engine in ours.items()}
    contenders |= {" ".join(name): predict(engine, layout, frames) for name, engine in others.items()}
    rates = take_turns(contenders)
    rows: list[list[Value]] = []
    for precision, engine in ours.items():
        mine = rates[f"engine {precision}"]
        name = f"engine, {precision}{' compiled' if engine.options.compile else ', no compiler found'}"
        rows.append([name, statistics.median(mine), "", _difference(engine.predict(engine.open_video(layout), frames), exact)])
        for (runtime, of_precision), other in others.items():
            if of_precision is precision:
                rate = rates[f"{runtime} {precision}"]
                difference = _difference(other.predict(other.open_video(layout), frames), exact)
                rows.append([f"{runtime}, {precision}", statistics.median(rate), median_ratio(mine, rate), difference])
    notes = [
        f"Strips of {STRIP[1]}×{STRIP[0]}, batches of {BATCH} pairs; resizing, the same for all, is included. Ratios: the engine's rate"
        f" over the other's in the same round, medians of {len(next(iter(rates.values())))} rounds.",
        f"All with {torch.get_num_threads()} threads. The network is exported with fixed shapes, merged and with its stem shared.",
        "Difference: the largest of any probability, from the uncompiled engine in float32. ONNX Runtime has no bfloat16 for this on CPUs.",
    ]
    return Result("runtimes", "Engine against other runtimes", ["runtime", "pairs/s", "engine ×", "difference"], rows, notes)


class _Foreign:
    """A classifier whose network runs in another runtime. The part that depends only on the video is computed by our own."""

    def __init__(self, classifier: Classifier, run: Run) -> None:
        self._classifier, self._run = classifier, run

    def ocr_part(self, image: Tensor) -> Tensor:
        return self._classifier.ocr_part(image)

    def __call__(self, strips: Tensor, ocr_part: Tensor, spatial: Tensor) -> Tensor:
        return torch.from_numpy(self._run(dict(zip(_INPUTS, (strips.numpy(), ocr_part.numpy(), spatial.numpy()), strict=True))))


def _export(classifier: Any) -> bytes:
    """Export the network as ONNX, for one batch of strips."""
    strips = torch.zeros((BATCH + 1, 3, HEIGHT, WIDTH), dtype=torch.uint8)
    with torch.no_grad():
        inputs = strips, classifier.ocr_part(strips[:1]), torch.zeros((1, 6))
        program = torch.onnx.export(classifier, inputs, input_names=_INPUTS, output_names=[_OUTPUT], dynamo=True, verbose=False)
    if program is None:
        raise RuntimeError("torch.onnx gave no program")
    data: bytes = program.model_proto.SerializeToString()
    return data


def _onnx_runtime(model: bytes) -> Run:
    disable_onnxruntime_telemetry()
    import onnxruntime  # an optional extra

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.force_spinning_stop", "1")  # its idle threads would slow the next contender
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda inputs: _checked(session.run([_OUTPUT], inputs)[0])


def _openvino(model: bytes, precision: str) -> Run:
    import openvino  # an optional extra

    core = openvino.Core()
    options = {
        "INFERENCE_PRECISION_HINT": precision,  # by default it uses bfloat16 if the processor has it
        "PERFORMANCE_HINT": "LATENCY",  # all threads on one batch
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    compiled = core.compile_model(core.read_model(model), "CPU", options)
    return lambda inputs: _checked(compiled(inputs)[_OUTPUT])


def _checked(probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return a copy, since a runtime may reuse its output's memory."""
    if probabilities.shape != (BATCH, 2, len(LABELS)):
        raise ValueError(f"probabilities of shape {probabilities.shape}, expected {(BATCH, 2, len(LABELS))}")
    return probabilities.copy()


def _difference(probabilities: npt.NDArray[np.float32], exact: npt.NDArray[np.float32]) -> str:
    return f"{np.abs(probabilities - exact).max():.1e}"
