"""Keeps ONNX Runtime from reporting to its maker."""

import os


def disable_onnxruntime_telemetry() -> None:
    """Switch off the telemetry that ONNX Runtime has sent to Microsoft since 1.29. Call this before ``onnxruntime`` is imported.

    It would also leave a device's identifier in the user's cache, and a file in the folder for temporary files. If the user has set
    ``ORT_DISABLE_TELEMETRY``, that value stays.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
