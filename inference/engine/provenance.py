"""The part of a run's provenance that describes the engine: software versions and options."""

import platform
from importlib.metadata import version

from inference.engine.predictor import EngineOptions
from inference.engine.processor import processor_model, usable_cores


def describe_engine(options: EngineOptions) -> dict[str, str]:
    """Return versions and options by name. Pass the predictor's ``options`` after it has predicted."""
    if options.runtime == "onnxruntime":
        versions = {name: version(name) for name in ("numpy", "onnxruntime")}
        return {"python": platform.python_version(), **versions, "batch_size": str(options.batch_size)}
    from inference.engine.device import software_versions  # imports torch

    return {
        **software_versions(options.device),
        "batch_size": str(options.batch_size),
        "compiled": _flag(options.compile),
        "merged": _flag(options.merge),
        "stem_shared": _flag(options.share_stem),
        "channels_last": _flag(options.channels_last),
        "fitted_on_device": _flag(options.fit_on_device),
    }


def describe_hardware(options: EngineOptions) -> str:
    """Return the model and size of the device that the predictor runs on, such as ``AMD EPYC 9R14, 2 threads``."""
    if options.runtime == "onnxruntime":
        return f"{processor_model()}, {usable_cores()} threads"
    from inference.engine.device import describe_device  # imports torch

    return describe_device(options.device)


def _flag(value: bool) -> str:
    return str(value).lower()
