"""From a weights file to a network that is ready to run."""

from pathlib import Path

from inference.architectures import find_architecture
from inference.engine.memory import memory_for
from inference.engine.predictor import Checkpoint, EngineOptions, Predictor
from inference.models.checkpoint import read_checkpoint


def load_predictor(source: Path | str | Checkpoint, options: EngineOptions) -> Predictor:
    """Read (unless already read), check and build a network on ``options.device``. Takes seconds: never on an event loop.

    Raises:
        CheckpointError: the file cannot be read, its architecture is unknown, or its entries are not that architecture's.
        TransientError: it does not fit into memory.
    """
    with memory_for(f"the network of {source.path if isinstance(source, Checkpoint) else source}"):
        checkpoint = source if isinstance(source, Checkpoint) else read_checkpoint(source)
        return find_architecture(checkpoint.architecture_name).load(checkpoint, options)
