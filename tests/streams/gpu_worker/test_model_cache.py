"""Workers find a model by its version, and keep its verified weights in a folder that several workers may share."""

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.errors import CheckpointError, ConfigurationError, CorruptInputError, UnknownModelError
from core.settings import KeySettings, WasabiSettings
from inference.models.builtin import builtin_checkpoint_path, builtin_checkpoint_sha256, builtin_model_version
from storage.connect import object_keys, open_store
from storage.model_store import ModelManifest, ModelStore
from streams.gpu_worker.model_cache import ABANDONED_SECONDS, MODELS_KEPT, ModelCache
from streams.model_catalog import ModelCatalog, ModelRef


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


class Fetches(ModelStore):
    """The real store, which counts how often weights are fetched from it."""

    count = 0

    async def fetch(self, manifest: ModelManifest) -> bytes:
        self.count += 1
        return await super().fetch(manifest)


@pytest.fixture
async def stored(namespace, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Fetches]:
    for name, value in namespace.env.items():
        monkeypatch.setenv(name, value)
    async with open_store(WasabiSettings()) as store:
        yield Fetches(store, object_keys(KeySettings()))


async def push(stored: ModelStore, version: str, data: bytes) -> str:
    manifest = ModelManifest(version, "weights.pt", sha256_of(data), len(data), "siamese_strip")
    await stored.push(manifest, data)
    return manifest.sha256


async def test_weights_are_fetched_once(stored, tmp_path: Path) -> None:
    """The second call, and another process with the same folder, use the file there."""
    sha256 = await push(stored, "v1", b"weights")
    stored.count = 0
    path = await ModelCache(stored, tmp_path / "new" / "cache").weights("v1", sha256)
    assert path.read_bytes() == b"weights"
    assert await ModelCache(stored, tmp_path / "new" / "cache").weights("v1", sha256) == path
    assert stored.count == 1


async def test_several_caches_may_share_a_folder(stored, tmp_path: Path) -> None:
    """Two caches that fetch the same model at the same time both get whole weights, and leave no partial file."""
    sha256 = await push(stored, "v1", b"weights" * 100_000)
    caches = [ModelCache(stored, tmp_path) for _ in range(4)]
    paths = await asyncio.gather(*(cache.weights("v1", sha256) for cache in caches))
    assert set(paths) == {tmp_path / sha256}
    assert names(tmp_path) == {sha256}
    assert sha256_of((tmp_path / sha256).read_bytes()) == sha256


async def test_a_damaged_file_is_fetched_again(stored, tmp_path: Path) -> None:
    """Damaged files that a full disk or a crash left in the folder are never used."""
    sha256 = await push(stored, "v1", b"weights")
    cache = ModelCache(stored, tmp_path)
    path = await cache.weights("v1", sha256)
    path.write_bytes(b"weigh")
    assert (await cache.weights("v1", sha256)).read_bytes() == b"weights"


async def test_damaged_weights_of_the_store_are_not_kept(stored, tmp_path: Path, namespace) -> None:
    """Weights that do not match the manifest are refused, and the folder stays unchanged."""
    sha256 = await push(stored, "v1", b"weights")
    async with open_store(WasabiSettings()) as store:
        await store.put(object_keys(KeySettings()).model("v1", "weights.pt"), b"others")
    with pytest.raises(CorruptInputError, match="has SHA-256"):
        await ModelCache(stored, tmp_path).weights("v1", sha256)
    assert names(tmp_path) == set()


async def test_the_most_recently_used_models_are_kept(stored, tmp_path: Path) -> None:
    """Beyond the limit the least recently used model is removed, not the first fetched; other files stay."""
    (tmp_path / "notes.txt").write_text("not a model")
    cache = ModelCache(stored, tmp_path)
    hashes = [await push(stored, f"v{n}", f"weights {n}".encode()) for n in range(MODELS_KEPT + 1)]
    hour_ago = time.time() - 3600
    for n in range(MODELS_KEPT):
        os.utime(await cache.weights(f"v{n}", hashes[n]), (hour_ago + n, hour_ago + n))
    await cache.weights("v0", hashes[0])  # used again, so that v1 is the least recently used
    await cache.weights(f"v{MODELS_KEPT}", hashes[-1])
    assert names(tmp_path) == {"notes.txt", *hashes} - {hashes[1]}


async def test_stale_partial_files_are_removed(stored, tmp_path: Path) -> None:
    """An old partial file is removed; one that somebody may be writing stays."""
    old, fresh = (tmp_path / f".{letter * 64}.7-00.partial" for letter in "ab")
    for path in (old, fresh):
        path.write_bytes(b"half")
    os.utime(old, (0, time.time() - ABANDONED_SECONDS - 10))
    await ModelCache(stored, tmp_path).weights("v1", await push(stored, "v1", b"weights"))
    assert not old.exists()
    assert fresh.exists()


async def test_a_version_with_other_weights_is_refused(stored, tmp_path: Path) -> None:
    """A run computes with the weights of its admission or not at all; the error names both hashes."""
    manifest = await push(stored, "v1", b"new weights")
    admitted = sha256_of(b"old weights")
    with pytest.raises(CheckpointError, match=f"model v1 has SHA-256 {manifest} in the store, but the run was admitted with {admitted}"):
        await ModelCache(stored, tmp_path).weights("v1", admitted)


async def test_a_model_that_was_removed_is_unknown_unless_cached(stored, tmp_path: Path) -> None:
    """Runs that were admitted earlier still find the weights if they are cached; otherwise the version is unknown."""
    sha256 = await push(stored, "v1", b"weights")
    await ModelCache(stored, tmp_path / "one").weights("v1", sha256)
    await stored.remove("v1")
    assert (await ModelCache(stored, tmp_path / "one").weights("v1", sha256)).read_bytes() == b"weights"
    with pytest.raises(UnknownModelError, match="model v1 is not in the store"):
        await ModelCache(stored, tmp_path / "other").weights("v1", sha256)


async def test_an_unwritable_folder_is_a_configuration_error(stored, tmp_path: Path) -> None:
    """The error for an unwritable folder names the setting, and fails no run."""
    (tmp_path / "file").touch()
    sha256 = await push(stored, "v1", b"weights")
    with pytest.raises(ConfigurationError, match="EXTENTS_MODEL_CACHE"):
        await ModelCache(stored, tmp_path / "file" / "cache").weights("v1", sha256)


async def test_the_built_in_model_needs_no_store(stored, tmp_path: Path) -> None:
    """The weights of the built-in model are read from the package."""
    path = await ModelCache(stored, tmp_path / "cache").weights(builtin_model_version(), builtin_checkpoint_sha256())
    assert path == builtin_checkpoint_path()
    assert not (tmp_path / "cache").exists()


async def test_the_catalogue_knows_the_built_in_model_and_the_stored_ones(stored) -> None:
    """Each version resolves to the hash of its weights and a readable name."""
    sha256 = await push(stored, "v1", b"weights")
    catalogue = ModelCatalog(stored)
    assert await catalogue.resolve("v1") == ModelRef("v1", sha256, "v1/weights.pt")
    builtin = await catalogue.resolve(catalogue.default_version)
    assert (builtin.version, builtin.checkpoint_sha256) == (builtin_model_version(), builtin_checkpoint_sha256())


async def test_an_unknown_version_error_lists_the_known_ones(stored) -> None:
    """The message lists every stored version and the built-in one."""
    for version in ("mrn0fkfd", "another-2"):
        await push(stored, version, version.encode())
    with pytest.raises(UnknownModelError) as raised:
        await ModelCatalog(stored).resolve("mrn0fkfe")
    assert str(raised.value) == (
        f"model mrn0fkfe is not in the store; there are: another-2, mrn0fkfd, and the built-in {builtin_model_version()}"
    )
