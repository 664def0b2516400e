"""The built-in model's files and its version."""

import hashlib
from functools import cache
from pathlib import Path

_PATH = Path(__file__).parent / "weights" / "builtin.safetensors"
_VERSION_DIGITS = 12


def builtin_checkpoint_path() -> Path:
    """Return the path of the weights file in the package."""
    return _PATH


def builtin_onnx_path() -> Path:
    """Return the path of the same weights with their network, for ONNX Runtime."""
    return _PATH.with_suffix(".onnx")


@cache
def builtin_checkpoint_sha256() -> str:
    """Return the hex digest of the weights file's bytes."""
    return hashlib.sha256(_PATH.read_bytes()).hexdigest()


def builtin_model_version() -> str:
    """Return ``builtin-`` and the first hex digits of the weights file's SHA-256, so that new weights get a new version."""
    return f"builtin-{builtin_checkpoint_sha256()[:_VERSION_DIGITS]}"
