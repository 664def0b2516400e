"""The interface between the service and a network: what an architecture must offer to be run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from core.types import Layout, Precision
from inference.arrays import Frames as Frames
from inference.arrays import Probabilities as Probabilities


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A weights file as read, before any architecture has looked at it.

    Attributes:
        architecture_name: key of the registry in ``inference.architectures``.
        config: the checkpoint's own ``config`` mapping (transform strategy, LoRA rank, ...).
        state: tensors by name, on the CPU, in the dtype they were stored in.
        sha256: hex digest of the file's bytes.
        path: where it was read from; recorded as ``model_checkpoint_path``.
    """

    architecture_name: str
    config: Mapping[str, Any]
    state: Mapping[str, torch.Tensor]
    sha256: str
    path: str


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How a network is run. Every optimisation can be switched off; none changes a label.

    Architectures ignore the steps that they do not have.

    Attributes:
        batch_size: pairs (both directions counted once) in one forward pass.
        compile: ``torch.compile`` the forward pass with fixed shapes; costs a minute at loading.
        merge: merge side paths and batch norms into the convolutions they follow.
        share_stem: compute the first layers once a frame and once a video instead of once a pair and direction.
        channels_last: keep activations with their channels innermost, as the fast convolutions want them.
        fit_on_device: resize strips where the network is, instead of with Pillow on the CPU.
    """

    device: str = "cpu"
    precision: Precision = Precision.FLOAT32
    batch_size: int = 32
    compile: bool = False
    merge: bool = True
    share_stem: bool = True
    channels_last: bool = True
    fit_on_device: bool = True


class Predictor(Protocol):
    """One network, loaded on one device. Owned by one thread: calls never overlap."""

    @property
    def options(self) -> EngineOptions:
        """How it really runs: not compiled where that failed, with the batch size that has fitted into memory so far."""

    def open_video(self, layout: Layout) -> Any:
        """Compute what is the same for every frame of a video and return it, to be handed to ``predict``.

        Raises:
            CorruptInputError: the layout's OCR visualisation is no image (architectures that do not use it ignore it).
        """

    def predict(self, video: Any, frames: Frames) -> Probabilities:
        """Classify the n − 1 consecutive pairs of n frames in both directions.

        The result for a pair does not depend on the frames around it, nor on the batch size.
        """


class Architecture(Protocol):
    """Builds predictors from checkpoints; an instance stands in the registry under its name."""

    name: str

    def load(self, checkpoint: Checkpoint, options: EngineOptions) -> Predictor:
        """Check every entry by name, shape and finiteness, and build the network.

        Raises:
            CheckpointError: an entry is missing, unexpected, misshapen or not finite; the message names it.
        """
