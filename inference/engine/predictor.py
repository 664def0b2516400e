"""The interface between the service and a network: what an architecture must implement."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from core.types import Layout, Precision
from inference.arrays import Features, Indices
from inference.arrays import Frames as Frames
from inference.arrays import Probabilities as Probabilities

if TYPE_CHECKING:  # a film's captions are found without torch
    import torch


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The content of a weights file, not yet checked by an architecture.

    Attributes:
        architecture_name: its key in ``inference.architectures``.
        config: the checkpoint's own ``config`` mapping (transform strategy, LoRA rank, ...).
        state: tensors by name, on the CPU, in their stored dtype.
        sha256: hex digest of the file's bytes.
        path: the file's path; recorded as ``model_checkpoint_path``.
    """

    architecture_name: str
    config: Mapping[str, Any]
    state: "Mapping[str, torch.Tensor]"
    sha256: str
    path: str


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How a network is run. Every optimisation can be switched off; none changes a label.

    An architecture ignores the options of steps that it does not have.

    Attributes:
        batch_size: pairs (both directions counted once) in one forward pass.
        compile: compile the forward pass with ``torch.compile`` for fixed shapes; loading then takes a minute longer.
        merge: merge side paths and batch norms into the preceding convolutions.
        share_stem: compute the first layers once per frame and once per video instead of once per pair and direction.
        channels_last: use the memory format that the fast convolutions need.
        fit_on_device: resize strips on the network's device instead of with Pillow on the CPU.
        runtime: the library that runs the network.
    """

    device: str = "cpu"
    precision: Precision = Precision.FLOAT32
    batch_size: int = 32
    compile: bool = False
    merge: bool = True
    share_stem: bool = True
    channels_last: bool = True
    fit_on_device: bool = True
    runtime: Literal["torch", "onnxruntime"] = "torch"


class Predictor(Protocol):
    """One network, loaded on one device. Owned by one thread: calls never overlap."""

    @property
    def options(self) -> EngineOptions:
        """The options actually in use: not compiled if that failed, and with the largest batch size that fitted so far."""

    @property
    def strip_size(self) -> tuple[int, int] | None:
        """Height and width to which all strips are resized, so that a decoder may do it; None if they depend on the strip."""

    def open_video(self, layout: Layout) -> Any:
        """Compute what all frames of a video share; the result is passed to ``predict``.

        Raises:
            CorruptInputError: the layout's OCR visualisation is not an image (unless the architecture does not use it).
        """

    def predict(self, video: Any, frames: Frames) -> Probabilities:
        """Classify the n − 1 consecutive pairs of n frames in both directions.

        A pair's result depends neither on other frames nor on the batch size.
        """


@runtime_checkable
class PairPredictor(Predictor, Protocol):
    """A predictor that encodes each frame once and compares any two of them, so that its caller may leave out pairs."""

    def extend(self, kept: Features | None, frames: Frames, first: Indices, second: Indices) -> tuple[Features, Probabilities]:
        """Encode frames, and compare pairs.

        Args:
            kept: features of earlier frames, as returned before.
            frames: new frames, in the size of ``strip_size``; there may be none.
            first, second: the frames of each pair, as indices into the kept frames followed by the new ones.

        Returns:
            The features of all these frames, and the probabilities of the pairs, (pairs, 2, 5).
        """


class Architecture(Protocol):
    """Builds predictors from checkpoints. Registered in ``inference.architectures`` under its name."""

    name: str

    def load(self, checkpoint: Checkpoint, options: EngineOptions) -> Predictor:
        """Check the name, shape and finiteness of every entry, and build the network.

        Raises:
            CheckpointError: an entry is missing, unexpected, of another shape or not finite; the message names it.
        """
