"""A stored model is whole, its version never changes weights, and an unfinished push does not count."""

import asyncio
import hashlib
from dataclasses import replace

import orjson
import pytest

from core.errors import CorruptInputError, MissingObjectError, PermanentError, UnknownModelError
from storage.model_store import MANIFEST, ModelManifest, ModelStore

WEIGHTS = b"weights of a model"


def manifest_of(version: str, data: bytes) -> ModelManifest:
    return ModelManifest(version, "weights.pt", hashlib.sha256(data).hexdigest(), len(data), "siamese_strip")


@pytest.fixture
def models(store, keys) -> ModelStore:
    return ModelStore(store, keys)


async def every_key(store) -> list[str]:
    return [key async for key in store.list_keys("")]


async def test_a_pushed_model_can_be_found_and_fetched(models, store) -> None:
    """Weights and manifest are stored under the documented keys, and read back unchanged."""
    first, second = manifest_of("mrn0fkfd", WEIGHTS), manifest_of("a-2", b"others")
    assert await models.push(first, WEIGHTS)
    assert await models.push(second, b"others")
    prefix = "models/caption_frame_extents"
    assert await every_key(store) == [f"{prefix}/{version}/{file}" for version in ("a-2", "mrn0fkfd") for file in (MANIFEST, "weights.pt")]
    assert await models.versions() == ["a-2", "mrn0fkfd"]
    assert await models.manifest("mrn0fkfd") == first
    assert await models.fetch(first) == WEIGHTS


async def test_the_same_model_again_changes_nothing(models, store, keys) -> None:
    """Pushing the same weights again changes nothing, even with another file name."""
    await models.push(manifest_of("v1", WEIGHTS), WEIGHTS)
    before = await store.get(keys.model("v1", MANIFEST), 10_000)
    assert not await models.push(replace(manifest_of("v1", WEIGHTS), file="weights.safetensors"), WEIGHTS)
    assert await store.get(keys.model("v1", MANIFEST), 10_000) == before
    assert len(await every_key(store)) == 2


async def test_a_version_never_gets_other_weights(models) -> None:
    """Other weights under the same version are rejected with both hashes, and the stored ones stay."""
    present, other = manifest_of("v1", WEIGHTS), manifest_of("v1", b"other weights")
    await models.push(present, WEIGHTS)
    with pytest.raises(PermanentError, match=rf"model v1 exists already with SHA-256 {present.sha256}.*{other.sha256}; choose another"):
        await models.push(other, b"other weights")
    assert await models.fetch(await models.manifest("v1")) == WEIGHTS


@pytest.mark.parametrize("damage", ["other bytes", "gone"])
async def test_damaged_weights_are_detected_and_replaced(models, store, keys, damage: str) -> None:
    """Weights that differ from their manifest give an error that names them, and pushing the same file again repairs them."""
    manifest = manifest_of("v1", WEIGHTS)
    await models.push(manifest, WEIGHTS)
    key = keys.model("v1", manifest.file)
    if damage == "gone":
        await store.delete(key)
        with pytest.raises(MissingObjectError, match=key):
            await models.fetch(manifest)
    else:
        await store.put(key, WEIGHTS[:-1])
        with pytest.raises(CorruptInputError, match=rf"{key} has SHA-256 .*{manifest.sha256}; push the same file again"):
            await models.fetch(manifest)
    assert await models.push(manifest, WEIGHTS)
    assert await models.fetch(manifest) == WEIGHTS


async def test_weights_without_a_manifest_are_no_model(models, store, keys) -> None:
    """A push that ended before its manifest counts as nothing: it is not listed and can be repeated."""
    await models.push(manifest_of("v0", WEIGHTS), WEIGHTS)
    await store.put(keys.model("v1", "weights.pt"), b"half a push")
    assert await models.versions() == ["v0"]
    with pytest.raises(UnknownModelError, match="model v1 is not in the store; there are: v0"):
        await models.manifest("v1")
    assert await models.push(manifest_of("v1", WEIGHTS), WEIGHTS)
    assert await models.fetch(await models.manifest("v1")) == WEIGHTS


async def test_a_removed_model_is_gone(models, store) -> None:
    """Removing a model leaves no object and frees its version; removing a missing model is an error."""
    await models.push(manifest_of("v1", WEIGHTS), WEIGHTS)
    assert await models.remove("v1") == manifest_of("v1", WEIGHTS)
    assert await every_key(store) == []
    with pytest.raises(UnknownModelError, match="there are: none"):
        await models.remove("v1")
    assert await models.push(manifest_of("v1", b"other weights"), b"other weights")


async def test_a_model_whose_manifest_is_broken_can_be_removed_and_pushed_again(models, store, keys) -> None:
    """A broken manifest makes a push fail until the model is removed."""
    await models.push(manifest_of("v1", WEIGHTS), WEIGHTS)
    await store.put(keys.model("v1", MANIFEST), b"{")
    with pytest.raises(CorruptInputError, match="is not a model manifest"):
        await models.push(manifest_of("v1", WEIGHTS), WEIGHTS)
    assert await models.remove("v1") is None
    assert await models.push(manifest_of("v1", WEIGHTS), WEIGHTS)


async def test_only_one_of_two_simultaneous_pushes_gets_the_version(models) -> None:
    """Of simultaneous pushes of different weights under one version, exactly one is stored, and the others are rejected."""
    pushes = []
    for data in (b"one", b"another", b"a third"):
        manifest = manifest_of("v1", data)
        pushes.append(models.push(replace(manifest, file=f"weights-{manifest.sha256[:12]}.pt"), data))
    results = await asyncio.gather(*pushes, return_exceptions=True)
    assert [result for result in results if not isinstance(result, PermanentError)] == [True]
    stored = await models.manifest("v1")
    assert hashlib.sha256(await models.fetch(stored)).hexdigest() == stored.sha256


GOOD = {"model_version": "v1", "file": "weights.pt", "sha256": "0" * 64, "size_bytes": 1, "architecture_name": "siamese_strip"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "Invalid JSON"),
        (b"[]", "should be an object"),
        (orjson.dumps({name: value for name, value in GOOD.items() if name != "sha256"}), "sha256: Field required"),
        (orjson.dumps({**GOOD, "file": "../v2/weights.pt"}), "file: .*found '../v2/weights.pt'"),
        (orjson.dumps({**GOOD, "file": "/etc/passwd"}), "file: "),
        (orjson.dumps({**GOOD, "file": ""}), "file: "),
        (orjson.dumps({**GOOD, "sha256": "../../home"}), "sha256: "),
        (orjson.dumps({**GOOD, "size_bytes": "1"}), "size_bytes: "),
        (orjson.dumps({**GOOD, "model_version": "v2"}), "is the manifest of model v2"),
        (b" " * 100_000, "100000 bytes"),
    ],
)
async def test_an_invalid_manifest_is_refused(models, store, keys, content: bytes, message: str) -> None:
    """A manifest with broken JSON, wrong types, a foreign file or version, or of excessive size is rejected by name."""
    await store.put(keys.model("v1", MANIFEST), content)
    with pytest.raises(CorruptInputError, match=rf"models/caption_frame_extents/v1/manifest\.json.*{message}"):
        await models.manifest("v1")


async def test_unknown_fields_of_a_manifest_are_ignored(models, store, keys) -> None:
    """Unknown fields of a later version are ignored."""
    await store.put(keys.model("v1", MANIFEST), orjson.dumps({**GOOD, "trained_on": "more"}))
    assert await models.manifest("v1") == ModelManifest(**GOOD)
