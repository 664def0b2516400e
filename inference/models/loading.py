"""Loads a weights file as a network that is ready to run."""

from pathlib import Path

from inference.architectures import find_architecture
from inference.engine.memory import memory_for
from inference.engine.predictor import Checkpoint, EngineOptions, Predictor
from inference.models.checkpoint import read_checkpoint


def load_predictor(source: Path | str | Checkpoint, options: EngineOptions) -> Predictor:
    """Read (unless already read), check and build a network on ``options.device``. Takes seconds, so never call it on an event loop.

    Raises:
        CheckpointError: the file cannot be read, its architecture is unknown, or its entries do not fit that architecture.
        TransientError: the network does not fit into memory.
    """
    with memory_for(f"the network of {source.path if isinstance(source, Checkpoint) else source}"):
        checkpoint = source if isinstance(source, Checkpoint) else read_checkpoint(source)
        return find_architecture(checkpoint.architecture_name).load(checkpoint, options)
