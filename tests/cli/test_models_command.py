"""``extents models`` keeps models in the store, and rejects those that a run could not use."""

import asyncio
import io
import json
import pathlib
from pathlib import Path

import numpy as np
import pytest
import torch

from core.settings import KeySettings, WasabiSettings
from inference.models.builtin import builtin_checkpoint_path, builtin_checkpoint_sha256, builtin_model_version
from inference.models.checkpoint import read_checkpoint
from storage.connect import object_keys, open_store
from storage.run_db_reader import read_run_db
from tests.cli.conftest import RunCommand


@pytest.fixture(autouse=True)
def environment(namespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in namespace.env.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A model that loads: the built-in one's weights, in the form that training saves."""
    checkpoint = read_checkpoint(builtin_checkpoint_path())
    path = tmp_path / "weights.pt"
    torch.save({"config": dict(checkpoint.config), "model_state_dict": dict(checkpoint.state)}, path)
    return path


async def put(file: str, data: bytes) -> None:
    async with open_store(WasabiSettings()) as store:
        await store.put(object_keys(KeySettings()).model("v1", file), data)


def versions(extents: RunCommand) -> list[str]:
    return [model["model_version"] for model in json.loads(extents("models", "list", "--json").out)]


def test_a_stored_model_predicts_by_its_version(extents, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stored model is fetched by its version, named in the run, and gives what the same weights give as the built-in model."""
    monkeypatch.setenv("EXTENTS_MODEL_CACHE", str(tmp_path / "models"))
    pushed = json.loads(extents("models", "push", weights, "--version", "v1", "--json").out)
    video = Path(__file__).parents[1] / "data" / "conformance" / "tile-right"
    for name, arguments in (("stored", ("--model-version", "v1")), ("builtin", ())):
        done = extents("predict", video, "-o", tmp_path / f"{name}.db", *arguments)
        assert (done.status, done.err) == (0, "")
    stored, builtin = (read_run_db((tmp_path / f"{name}.db").read_bytes(), name) for name in ("stored", "builtin"))
    assert stored.model_version == "v1"
    assert pushed["file"] in stored.model_checkpoint_path
    assert np.abs(stored.probabilities - builtin.probabilities).max() < 1e-5  # torch, and ONNX Runtime


def test_a_model_goes_in_and_comes_out(extents, weights: Path, tmp_path: Path) -> None:
    """A model is pushed, listed beside the built-in one, verified, pulled byte for byte, and removed."""
    pushed = json.loads(extents("models", "push", weights, "--version", "v1", "--json").out)
    sha256 = read_checkpoint(weights).sha256
    assert pushed == {
        "model_version": "v1",
        "file": f"weights-{sha256[:12]}.pt",
        "sha256": sha256,
        "size_bytes": weights.stat().st_size,
        "architecture_name": "siamese_strip",
        "stored": True,
    }
    listed = json.loads(extents("models", "list", "--json").out)
    assert [model["model_version"] for model in listed] == [builtin_model_version(), "v1"]
    assert listed[0]["sha256"] == builtin_checkpoint_sha256()
    assert listed[1] == {name: value for name, value in pushed.items() if name != "stored"}
    assert extents("models", "verify").out == "v1  ok\n"
    pulled = extents("models", "pull", "v1")
    assert (pulled.status, pulled.out) == (0, "v1.pt\n")
    assert (tmp_path / "v1.pt").read_bytes() == weights.read_bytes()
    assert extents("models", "rm", "v1", "--yes").status == 0
    assert versions(extents) == [builtin_model_version()]


def test_pushing_again_is_nothing_new_and_other_weights_are_refused(extents, weights: Path) -> None:
    """Pushing the same file again changes nothing; another file under the same version is rejected, and the first stays."""
    assert "stored and read back" in extents("models", "push", weights, "--version", "v1").out
    assert "unchanged: the same weights were stored already" in extents("models", "push", weights, "--version", "v1").out
    other = extents("models", "push", builtin_checkpoint_path(), "--version", "v1")
    assert (other.status, other.out) == (1, "")
    assert "model v1 exists already" in other.err
    assert extents("models", "verify", "v1").status == 0


@pytest.mark.parametrize("version", ["../v1", "v/1", "", "-v1", "v" * 65])
def test_a_version_is_a_plain_name(extents, weights: Path, version: str) -> None:
    """A version that is not a plain name is a usage error in every command, because it becomes part of keys and paths."""
    for arguments in (["push", weights, f"--version={version}"], ["pull", "--", version], ["rm", "--yes", "--", version]):
        done = extents("models", *arguments)
        assert (done.status, done.out) == (2, "")
        assert "is not a model version" in done.err


def test_the_built_in_models_version_is_taken(extents, weights: Path) -> None:
    """The built-in model's version cannot be pushed, since a stored model under it would never be found."""
    done = extents("models", "push", weights, "--version", builtin_model_version())
    assert done.status == 2
    assert "the built-in model's own version" in done.err


def test_what_does_not_load_is_not_stored(extents, weights: Path) -> None:
    """A file with a missing entry, NaN or code is rejected before anything is sent, with the entry or the command that helps."""
    content = torch.load(weights, weights_only=True)
    name = next(name for name, tensor in content["model_state_dict"].items() if tensor.is_floating_point())
    whole = content["model_state_dict"][name].clone()
    content["model_state_dict"][name][...] = float("nan")
    torch.save(content, weights)
    refused = extents("models", "push", weights, "--version", "v1")
    assert refused.status == 1
    assert name in refused.err
    del content["model_state_dict"][name]
    torch.save(content, weights)
    assert name in extents("models", "push", weights, "--version", "v1").err
    content["model_state_dict"][name] = whole
    torch.save({**content, "path": pathlib.PurePosixPath("x")}, weights)
    assert f"extents models convert {weights} --trust" in extents("models", "push", weights, "--version", "v1").err
    assert versions(extents) == [builtin_model_version()]


def test_damage_is_found_and_repaired(extents, weights: Path, tmp_path: Path) -> None:
    """Verify names a damaged model with status 1, pull writes nothing, and pushing the same file repairs it."""
    pushed = json.loads(extents("models", "push", weights, "--version", "v1", "--json").out)
    asyncio.run(put(pushed["file"], b"damaged"))
    verified = extents("models", "verify", "--json")
    assert verified.status == 1
    output = json.loads(verified.out)
    assert [model["model_version"] for model in output] == ["v1"]
    assert "push the same file again" in output[0]["fault"]
    assert extents("models", "pull", "v1").status == 1
    assert not (tmp_path / "v1.pt").exists()
    assert extents("models", "push", weights, "--version", "v1").status == 0
    assert extents("models", "verify").status == 0


def test_a_broken_manifest_hides_no_other_model(extents, weights: Path) -> None:
    """A broken manifest is reported on standard error, the other models are listed, and verify ends with status 1."""
    extents("models", "push", weights, "--version", "v2")
    asyncio.run(put("manifest.json", b'{"file": "../../elsewhere"}'))
    listed = extents("models", "list", "--json")
    assert listed.status == 0
    assert [model["model_version"] for model in json.loads(listed.out)] == [builtin_model_version(), "v2"]
    assert "v1/manifest.json is not a model manifest" in listed.err
    assert extents("models", "verify").status == 1


def test_removing_asks_first(extents, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --yes and without an answer nothing is deleted; the error for an unknown version lists the stored ones."""
    extents("models", "push", weights, "--version", "v1")
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert extents("models", "rm", "v1").status == 1
    assert versions(extents) == [builtin_model_version(), "v1"]
    unknown = extents("models", "rm", "v2", "--yes")
    assert unknown.status == 1
    assert "there are: v1" in unknown.err


def test_a_checkpoint_with_code_is_converted_when_trusted(extents, weights: Path, tmp_path: Path) -> None:
    """A checkpoint with code is converted only with --trust, push accepts the result, and a file is never replaced by itself."""
    content = torch.load(weights, weights_only=True)
    old = tmp_path / "old.pt"
    torch.save({**content, "notes": pathlib.PurePosixPath("x")}, old)
    refused = extents("models", "convert", old)
    assert refused.status == 1
    assert f"extents models convert {old} --trust" in refused.err
    assert not (tmp_path / "old.safetensors").exists()
    assert extents("models", "convert", old, "--trust").out == f"{tmp_path / 'old.safetensors'}\n"
    assert extents("models", "push", tmp_path / "old.safetensors", "--version", "v1").status == 0
    itself = extents("models", "convert", tmp_path / "old.safetensors")
    assert itself.status == 2
    assert "is the input file itself" in itself.err


def test_a_store_that_refuses_is_named(extents, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong credentials give one line that names the variable."""
    monkeypatch.setenv("WASABI_SECRET_KEY", "wrong")
    done = extents("models", "list")
    assert (done.status, done.out) == (1, "")
    assert done.err.count("\n") == 1
    assert "WASABI_SECRET_KEY" in done.err
