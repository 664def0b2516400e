"""The built-in model on ONNX Runtime: on a CPU about twice as fast as torch, and started in a tenth of the time."""

from typing import Any, Final

import numpy as np

from core.types import LABELS, Layout
from inference.arrays import Features, Frames, Indices, Probabilities
from inference.engine.canvas import to_canvases
from inference.engine.predictor import EngineOptions
from inference.engine.processor import usable_cores
from inference.models.builtin import builtin_onnx_path
from inference.telemetry import disable_onnxruntime_telemetry

CHECKPOINT_SHA256: Final = "checkpoint_sha256"
"""Key in the file's metadata: the digest of the safetensors file whose weights it has."""


class BuiltinSession:
    """A predictor over an ONNX session, in float32 on the CPU. ``training.onnx_file`` describes the file's inputs."""

    def __init__(self, batch_size: int) -> None:
        disable_onnxruntime_telemetry()
        import onnxruntime

        self.options = EngineOptions(runtime="onnxruntime", batch_size=batch_size)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = usable_cores()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # a film is decoded at the same time
        self._session = onnxruntime.InferenceSession(builtin_onnx_path(), options, providers=["CPUExecutionProvider"])
        shapes = {node.name: node.shape for node in self._session.get_inputs()}
        self._canvas: tuple[int, int] = tuple(shapes["canvases"][2:])
        self._nothing_kept: Features = np.empty((0, *shapes["kept"][1:]), np.float32)

    @property
    def strip_size(self) -> tuple[int, int]:
        return self._canvas

    @property
    def checkpoint_sha256(self) -> str:
        """The digest of the safetensors file whose weights the session runs."""
        return str(self._session.get_modelmeta().custom_metadata_map[CHECKPOINT_SHA256])

    def open_video(self, layout: Layout) -> None:
        """Do nothing, because the model uses only the strips."""

    def predict(self, video: Any, frames: Frames) -> Probabilities:
        """Classify each pair of consecutive frames: (n − 1, 2, 5)."""
        pairs, size = len(frames) - 1, self.options.batch_size
        results = [self._predict(frames[first : min(first + size, pairs) + 1]) for first in range(0, pairs, size)]
        return np.concatenate(results) if results else np.empty((0, 2, len(LABELS)), np.float32)

    def extend(self, kept: Features | None, frames: Frames, first: Indices, second: Indices) -> tuple[Features, Probabilities]:
        """Encode frames, and compare any pairs of them and of those kept: see ``inference.engine.predictor.PairPredictor``."""
        canvases = to_canvases(frames, *self._canvas)
        inputs = {"canvases": canvases, "kept": self._nothing_kept if kept is None else kept, "first": first, "second": second}
        features, probabilities = self._session.run(["features", "probabilities"], inputs)
        return features, probabilities

    def _predict(self, frames: Frames) -> Probabilities:
        first = np.arange(len(frames) - 1)
        return self.extend(None, frames, first, first + 1)[1]
