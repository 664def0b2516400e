"""The part of a run's provenance that describes the engine: software versions and options."""

from inference.engine.device import software_versions
from inference.engine.predictor import EngineOptions


def describe_engine(options: EngineOptions) -> dict[str, str]:
    """Return versions and options by name. Pass the predictor's ``options`` after it has predicted."""
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
