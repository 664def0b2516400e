"""Converts a checkpoint that only loads by running its code into one without code."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from core.errors import CheckpointError
from inference.models.checkpoint import read_checkpoint


def convert_checkpoint(path: Path, *, trust: bool) -> bytes:
    """Return the weights and config of a checkpoint as safetensors.

    Args:
        trust: if the checkpoint cannot be read otherwise, load it in a way that can run any code in it.

    Raises:
        CheckpointError: it cannot be read (without ``trust``), or contains no config and weights.
    """
    try:
        checkpoint = read_checkpoint(path)
    except CheckpointError:
        if not trust:
            raise
        return _packed(path, *_load_trusted(path))
    return _packed(path, checkpoint.config, checkpoint.state)


def _load_trusted(path: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    try:
        content = torch.load(io.BytesIO(path.read_bytes()), map_location="cpu", weights_only=False)
    except Exception as error:  # the code in it may raise anything
        raise CheckpointError(f"{path}: cannot be loaded: {type(error).__name__}: {error}") from error
    config = content.get("config") if isinstance(content, dict) else None
    state = content.get("model_state_dict") if isinstance(content, dict) else None
    if not isinstance(config, dict) or not isinstance(state, dict):
        raise CheckpointError(f"{path}: a {type(content).__name__} without the dicts config and model_state_dict; nothing to convert")
    return config, state


def _packed(path: Path, config: Mapping[str, Any], state: Mapping[str, Any]) -> bytes:
    name = config.get("architecture_name")
    if not isinstance(name, str):
        raise CheckpointError(f"{path}: architecture_name is {name!r} in its config; a checkpoint must name its architecture")
    for entry, value in state.items():
        if not isinstance(value, torch.Tensor):
            raise CheckpointError(f"{path}: entry {entry!r} of model_state_dict is a {type(value).__name__}, expected a tensor")
    # Cloned, since safetensors refuses tensors that share memory.
    tensors = {str(entry): tensor.detach().contiguous().clone() for entry, tensor in state.items()}
    # A single entry that includes the architecture's name: safetensors writes several in any order, so the bytes would vary.
    metadata = {"config": json.dumps(_plain(config), sort_keys=True)}
    data: bytes = safetensors.torch.save(tensors, metadata)
    return data


def _plain(value: Any) -> Any:
    """Convert the config to JSON values: NumPy numbers become plain ones, and other objects become text."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
