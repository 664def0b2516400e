"""From a checkpoint that only loads by running code from it to one that holds none."""

import io
import json
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from core.errors import CheckpointError
from inference.checkpoint import read_checkpoint


def convert_checkpoint(path: Path, *, trust: bool) -> bytes:
    """The weights and config of a checkpoint as safetensors.

    Args:
        trust: where it cannot be read otherwise, load it the way that lets it run any code.

    Raises:
        CheckpointError: it cannot be read (without ``trust``), or holds no config and weights.
    """
    try:
        checkpoint = read_checkpoint(path)
        return _packed(dict(checkpoint.config), dict(checkpoint.state))
    except CheckpointError:
        if not trust:
            raise
    try:
        content = torch.load(io.BytesIO(path.read_bytes()), map_location="cpu", weights_only=False)
    except Exception as error:  # whatever the code it carries raises
        raise CheckpointError(f"{path}: cannot be loaded: {error}") from error
    config = content.get("config") if isinstance(content, dict) else None
    state = content.get("model_state_dict") if isinstance(content, dict) else None
    if not isinstance(config, dict) or not isinstance(state, dict):
        raise CheckpointError(f"{path}: a {type(content).__name__} without config and model_state_dict; nothing to convert")
    return _packed(config, state)


def _packed(config: dict[str, Any], state: dict[str, Any]) -> bytes:
    tensors = {name: tensor.contiguous().clone() for name, tensor in state.items()}
    metadata = {"architecture_name": str(config.get("architecture_name")), "config": json.dumps(_plain(config), sort_keys=True)}
    data: bytes = safetensors.torch.save(tensors, metadata)
    return data


def _plain(value: Any) -> Any:
    """A config of plain values: what is none is written as text."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
