"""Reads weights files without ever running code from them. The architecture checks their entries."""

import hashlib
import io
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from core.errors import CheckpointError
from inference.engine.predictor import Checkpoint

_SAFETENSORS_LENGTH_BYTES = 8  # the file begins with its header's length, little-endian; then the header, JSON


def read_checkpoint(path: Path | str) -> Checkpoint:
    """Read a ``.safetensors`` or ``.pt`` file, recognised by its content, not its name.

    A safetensors file carries ``architecture_name`` and ``config`` (JSON) in its header's metadata, a ``torch.save``
    file is a dict of ``config`` (with ``architecture_name``) and ``model_state_dict``.

    Raises:
        CheckpointError: the file does not exist, has neither format, or could only be loaded by running code from it.
    """
    path = Path(path)
    try:
        data = path.read_bytes()  # read once, so that the digest is that of the loaded bytes
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    # A zip archive, or a bare pickle as PyTorch before 1.6 wrote it; a safetensors file begins with a length, then with JSON.
    is_torch_file = data[:2] in (b"PK", b"\x80\x02") and data[8:9] != b"{"
    config, state = _read_torch(path, data) if is_torch_file else _read_safetensors(path, data)
    name = config.get("architecture_name")
    if not isinstance(name, str):
        raise CheckpointError(f"{path}: architecture_name is {name!r} in its config; a checkpoint must name its architecture")
    return Checkpoint(name, config, state, hashlib.sha256(data).hexdigest(), str(path))


def _read_torch(path: Path, data: bytes) -> tuple[Mapping[str, Any], Mapping[str, torch.Tensor]]:
    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: holds more than tensors and plain values, so loading it would run code from it. "
            f"If you trust its source: extents models convert {path} --trust"
        ) from error
    except Exception as error:  # the archive reader raises RuntimeError, OSError, EOFError and others for a broken file
        raise CheckpointError(f"{path}: not a readable torch.save file: {error}") from error
    config = content.get("config") if isinstance(content, dict) else None
    state = content.get("model_state_dict") if isinstance(content, dict) else None
    if not isinstance(config, dict) or not isinstance(state, dict):
        raise CheckpointError(f"{path}: {_describe(content)}; expected a dict with config and model_state_dict, both dicts")
    for name, value in state.items():
        if not isinstance(value, torch.Tensor):
            raise CheckpointError(f"{path}: entry {name!r} of model_state_dict is a {type(value).__name__}, expected a tensor")
    return config, state


def _read_safetensors(path: Path, data: bytes) -> tuple[Mapping[str, Any], Mapping[str, torch.Tensor]]:
    try:
        state = safetensors.torch.load(data)
    except SafetensorError as error:
        raise CheckpointError(f"{path}: neither a safetensors nor a torch.save file: {error}") from error
    length = int.from_bytes(data[:_SAFETENSORS_LENGTH_BYTES], "little")
    header = json.loads(data[_SAFETENSORS_LENGTH_BYTES : _SAFETENSORS_LENGTH_BYTES + length])
    metadata = header.get("__metadata__", {})
    try:
        config = json.loads(metadata.get("config", "{}"))
    except ValueError as error:
        raise CheckpointError(f"{path}: config in the header's metadata is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path}: config in the header's metadata is a {type(config).__name__}, expected an object")
    if "architecture_name" in metadata:
        config = {**config, "architecture_name": metadata["architecture_name"]}
    return config, state


def _describe(content: object) -> str:
    return f"a dict of {sorted(map(str, content))[:8]}" if isinstance(content, dict) else f"a {type(content).__name__}"
