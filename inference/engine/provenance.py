"""What a result's last bits depend on, beside the checkpoint, the precision and the device: recorded with every run."""

from inference.engine.device import software_versions
from inference.engine.predictor import EngineOptions


def describe_engine(options: EngineOptions) -> dict[str, str]:
    """Versions, and how the network was run, by name; ``options`` as the predictor has them after it predicted."""
    return {
        **software_versions(options.device),
        "batch_size": str(options.batch_size),
        "compiled": _flag(options.compile),
        "merged": _flag(options.merge),
        "stem_shared": _flag(options.share_stem),
        "channels_last": _flag(options.channels_last),
        "fitted_on_device": _flag(options.fit_on_device),
    }


def _flag(value: bool) -> str:
    return str(value).lower()
