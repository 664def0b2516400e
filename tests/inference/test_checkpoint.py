"""Weights files: both formats are read, everything else is rejected, and no code in them is ever run."""

import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from core.errors import CheckpointError
from inference.engine.predictor import EngineOptions
from inference.models.checkpoint import read_checkpoint
from inference.models.loading import load_predictor

CONFIG = {"architecture_name": "some_network", "rank": 4}
STATE = {"layer.weight": torch.arange(6.0).reshape(2, 3), "layer.count": torch.tensor(7)}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before PyTorch 1.6"])
def test_a_torch_file_is_read(tmp_path: Path, zipped: bool) -> None:
    """A PyTorch file is read with its config, tensors, path and the digest of its bytes."""
    path = tmp_path / "weights.any-name"
    torch.save({"config": CONFIG, "model_state_dict": STATE}, path, _use_new_zipfile_serialization=zipped)
    checkpoint = read_checkpoint(path)
    assert (checkpoint.architecture_name, checkpoint.config, checkpoint.path) == ("some_network", CONFIG, str(path))
    assert checkpoint.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert checkpoint.state.keys() == STATE.keys()
    assert all(torch.equal(checkpoint.state[name], STATE[name]) for name in STATE)


def test_a_safetensors_file_is_read(tmp_path: Path) -> None:
    """A safetensors file is read with the architecture and config from its header's metadata."""
    path = tmp_path / "weights"
    safetensors.torch.save_file(STATE, path, metadata={"architecture_name": "some_network", "config": json.dumps({"rank": 4})})
    checkpoint = read_checkpoint(str(path))
    assert (checkpoint.architecture_name, checkpoint.config) == ("some_network", CONFIG)
    assert checkpoint.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert all(torch.equal(checkpoint.state[name], STATE[name]) for name in STATE)


@pytest.mark.parametrize("begins", [b"PK", b"\x80\x02"])
def test_a_safetensors_file_may_begin_like_another(tmp_path: Path, begins: bytes) -> None:
    """A safetensors file is recognised even if the length of its header begins like a zip archive or a pickle."""
    path, length = tmp_path / "weights", int.from_bytes(begins, "little")
    metadata = {"architecture_name": "some_network", "config": "{}", "note": ""}
    safetensors.torch.save_file(STATE, path, metadata=metadata)
    missing = (length - int.from_bytes(path.read_bytes()[:8], "little")) % 2**16
    safetensors.torch.save_file(STATE, path, metadata={**metadata, "note": "x" * missing})
    assert path.read_bytes().startswith(begins)
    assert read_checkpoint(path).architecture_name == "some_network"


class Trap:
    """Leaves a file behind if it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "bare pickle"])
def test_code_in_a_checkpoint_is_never_run(tmp_path: Path, zipped: bool) -> None:
    """A checkpoint with code in it is rejected with the command that converts it, and the code does not run."""
    path, trace = tmp_path / "trap.pt", tmp_path / "trace"
    content = {"config": CONFIG, "model_state_dict": STATE, "trap": Trap(trace)}
    if zipped:
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(CheckpointError, match=rf"extents models convert {path} --trust"):
        read_checkpoint(path)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "a list; expected a dict with config and model_state_dict"),
        ({"config": CONFIG}, r"a dict of \['config'\]"),
        ({"config": CONFIG, "model_state_dict": {"layer": 3}}, "entry 'layer' of model_state_dict is a int"),
        ({"config": {}, "model_state_dict": STATE}, "architecture_name is None"),
    ],
    ids=["list", "no state", "no tensor", "no architecture"],
)
def test_a_torch_file_of_another_shape_is_refused(tmp_path: Path, content: object, message: str) -> None:
    """The error says what the file holds instead."""
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(tmp_path / "other.pt")


@pytest.mark.parametrize("length", [0, 1, 9, 300, 700])
@pytest.mark.parametrize("kind", ["torch", "safetensors"])
def test_a_truncated_file_is_refused(tmp_path: Path, kind: str, length: int) -> None:
    """A file that is cut off at any length gives an error that names it."""
    path = tmp_path / "cut"
    if kind == "torch":
        torch.save({"config": CONFIG, "model_state_dict": STATE}, path)
    else:
        safetensors.torch.save_file({"a": torch.zeros(1000)}, path, metadata={"architecture_name": "some_network"})
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(CheckpointError, match=str(path)):
        read_checkpoint(path)


@pytest.mark.parametrize("config", ["no JSON", "[1]"])
def test_a_safetensors_config_that_is_no_object_is_refused(tmp_path: Path, config: str) -> None:
    """The metadata's config must be a JSON object."""
    safetensors.torch.save_file(STATE, tmp_path / "w", metadata={"architecture_name": "some_network", "config": config})
    with pytest.raises(CheckpointError, match="config in the header's metadata"):
        read_checkpoint(tmp_path / "w")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """A missing file raises a checkpoint error like the others, not an OSError."""
    with pytest.raises(CheckpointError, match="nothing-here: cannot be read: No such file"):
        read_checkpoint(tmp_path / "nothing-here")


def test_an_unknown_architecture_is_refused(tmp_path: Path) -> None:
    """The error for an unknown architecture lists the known ones."""
    torch.save({"config": CONFIG, "model_state_dict": STATE}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"'some_network' is not known; there are: .*channel_fusion_lora_spatial"):
        load_predictor(tmp_path / "w.pt", EngineOptions())
