"""A checkpoint that needs code to load is converted to one that needs none, if its owner trusts it."""

import pathlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from core.errors import CheckpointError
from core.types import Anchor, Layout
from inference.engine.predictor import EngineOptions, Probabilities
from inference.models.builtin import builtin_checkpoint_path
from inference.models.checkpoint import read_checkpoint
from inference.models.convert import convert_checkpoint
from inference.models.loading import load_predictor


@pytest.fixture
def pickled(tmp_path: Path) -> Path:
    """The built-in model as training might save it: with a path, NumPy's numbers and trainable tensors."""
    built_in = read_checkpoint(builtin_checkpoint_path())
    config = {
        **built_in.config,
        "architecture_name": built_in.architecture_name,
        "rank": np.int64(16),
        "alpha": np.float32(0.5),
        "flag": np.bool_(True),
        "sizes": (3, 48),
        "data": pathlib.PurePosixPath("/data/train"),
        "epochs": None,
    }
    state = {name: torch.nn.Parameter(tensor) if tensor.is_floating_point() else tensor for name, tensor in built_in.state.items()}
    path = tmp_path / "old.pt"
    torch.save({"config": config, "model_state_dict": state, "epoch": 7}, path)
    return path


def predictions(path: Path) -> Probabilities:
    frames = np.random.default_rng(1).integers(0, 256, (4, 40, 320, 3), np.uint8)
    predictor = load_predictor(path, EngineOptions())
    return predictor.predict(predictor.open_video(Layout(Anchor.CENTER, 0, 0, 320, 40, 320, 240, b"")), frames)


def test_what_needs_code_is_converted_only_when_trusted(pickled: Path, tmp_path: Path) -> None:
    """Without trust the error names the command; with trust the result loads without code, keeps the config and predicts the same."""
    with pytest.raises(CheckpointError, match=rf"extents models convert {pickled} --trust"):
        convert_checkpoint(pickled, trust=False)
    converted = tmp_path / "new.safetensors"
    converted.write_bytes(convert_checkpoint(pickled, trust=True))
    checkpoint = read_checkpoint(converted)
    config = {name: checkpoint.config[name] for name in ("rank", "alpha", "flag", "sizes", "data", "epochs")}
    assert config == {"rank": 16, "alpha": 0.5, "flag": True, "sizes": [3, 48], "data": "/data/train", "epochs": None}
    assert np.array_equal(predictions(converted), predictions(builtin_checkpoint_path()))


def test_what_loads_by_itself_needs_no_trust(tmp_path: Path) -> None:
    """An ordinary checkpoint is converted without trust, and converting the result again gives the same bytes."""
    built_in = read_checkpoint(builtin_checkpoint_path())
    state = dict(built_in.state)
    name = next(iter(state))
    state["shared"] = state[name]  # two names for one memory, which safetensors itself refuses
    torch.save({"config": dict(built_in.config), "model_state_dict": state}, tmp_path / "plain.pt")
    first = convert_checkpoint(tmp_path / "plain.pt", trust=False)
    (tmp_path / "first").write_bytes(first)
    assert convert_checkpoint(tmp_path / "first", trust=False) == first
    checkpoint = read_checkpoint(tmp_path / "first")
    assert torch.equal(checkpoint.state["shared"], state[name])
    assert checkpoint.architecture_name == built_in.architecture_name


class Trap:
    """Raises an error on loading that no checkpoint reader expects."""

    def __reduce__(self) -> tuple[object, ...]:
        return int, ("no number",)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([pathlib.PurePosixPath("a")], "a list without the dicts config and model_state_dict"),
        ({"config": pathlib.PurePosixPath("a"), "model_state_dict": {}}, "without the dicts config and model_state_dict"),
        ({"config": {"path": pathlib.PurePosixPath("a")}, "model_state_dict": {}}, "architecture_name is None in its config"),
        (
            {"config": {"architecture_name": "x"}, "model_state_dict": {"layer": pathlib.PurePosixPath("a")}},
            "entry 'layer' of model_state_dict is a PurePosixPath, expected a tensor",
        ),
        ({"config": {}, "trap": Trap()}, "cannot be loaded: ValueError"),
    ],
)
def test_what_is_no_checkpoint_is_refused_even_when_trusted(tmp_path: Path, content: object, says: str) -> None:
    """Other content, a missing architecture, entries that are not tensors or failing code give an error that names the file."""
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=says) as raised:
        convert_checkpoint(tmp_path / "other.pt", trust=True)
    assert str(tmp_path / "other.pt") in str(raised.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """A missing file raises a checkpoint error, with trust or without."""
    for trust in (False, True):
        with pytest.raises(CheckpointError, match="none\\.pt"):
            convert_checkpoint(tmp_path / "none.pt", trust=trust)


def test_a_bare_pickle_is_converted_too(tmp_path: Path) -> None:
    """Files that PyTorch wrote before 1.6 are converted too."""
    content = {"config": {"architecture_name": "x", "at": pathlib.PurePosixPath("a")}, "model_state_dict": {"layer": torch.ones(2)}}
    torch.save(content, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert (tmp_path / "old.pt").read_bytes()[:2] == pickle.PROTO + b"\x02"
    (tmp_path / "new").write_bytes(convert_checkpoint(tmp_path / "old.pt", trust=True))
    assert torch.equal(read_checkpoint(tmp_path / "new").state["layer"], torch.ones(2))
