"""The production architecture: a ResNet-50 with LoRA side paths over a pair's frames and the OCR visualisation.

``network`` is the network as trained, ``merge`` and ``classifier`` make it fast, ``strips`` prepares frames, ``predictor`` runs it.
"""

from typing import Final

import torch

from core.errors import CheckpointError
from core.types import Precision
from inference.architectures.channel_fusion_lora_spatial.classifier import Classifier, SharedStemClassifier, StackedClassifier
from inference.architectures.channel_fusion_lora_spatial.merge import merge_network_
from inference.architectures.channel_fusion_lora_spatial.network import build_network
from inference.architectures.channel_fusion_lora_spatial.predictor import ChannelFusionPredictor
from inference.engine.predictor import Checkpoint, EngineOptions

_DTYPES: Final = {
    Precision.FLOAT32: torch.float32,
    Precision.BFLOAT16: torch.bfloat16,
    Precision.FLOAT16: torch.float16,
}


class ChannelFusionLoraSpatial:
    """The ``inference.engine.predictor.Architecture`` of this name."""

    name = "channel_fusion_lora_spatial"

    def load(self, checkpoint: Checkpoint, options: EngineOptions) -> ChannelFusionPredictor:
        """Build the network; compile it and warm it up if the options or the device require it.

        Raises:
            CheckpointError: the config or an entry does not fit; the message says which.
        """
        try:
            network = build_network(checkpoint.config, checkpoint.state)
        except CheckpointError as error:
            raise CheckpointError(f"{checkpoint.path}: not a {self.name} checkpoint: {error}") from error
        if options.merge:
            merge_network_(network)
        kind = SharedStemClassifier if options.share_stem else StackedClassifier
        classifier: SharedStemClassifier | StackedClassifier = kind(network, _DTYPES[options.precision]).eval().to(options.device)
        if options.channels_last:
            classifier = classifier.to(memory_format=torch.channels_last)
        predictor = ChannelFusionPredictor(classifier, options)
        predictor.warm_up()
        return predictor


ARCHITECTURE: Final = ChannelFusionLoraSpatial()

__all__ = ["ARCHITECTURE", "ChannelFusionLoraSpatial", "ChannelFusionPredictor", "Classifier"]
