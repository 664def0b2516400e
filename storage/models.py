"""Models in the object store: a weights file, and a manifest that is written after it. No manifest, no model."""

import asyncio
import hashlib
from dataclasses import asdict, dataclass
from typing import Any, Final

import orjson

from core.errors import CorruptInputError, MissingObjectError, PermanentError, TransientError, UnknownModelError
from storage.keys import FILE_NAME, MODEL_VERSION, Keys
from storage.objects import ObjectStore

MANIFEST: Final = "manifest.json"
MAX_MANIFEST_BYTES: Final = 64 * 1024
MAX_WEIGHTS_BYTES: Final = 4 * 1024**3
"""Weights are held in memory once while they are fetched; the production model has 137 MB."""


@dataclass(frozen=True, slots=True)
class ModelManifest:
    """What a stored model is.

    Attributes:
        file: name of the weights file beside the manifest.
        sha256: of the weights file.
    """

    model_version: str
    file: str
    sha256: str
    size_bytes: int
    architecture_name: str


class ModelStore:
    """The models of one bucket. Nothing is tried again here; errors are those of ``ObjectStore``."""

    def __init__(self, store: ObjectStore, keys: Keys) -> None:
        self._store, self._keys = store, keys

    async def push(self, manifest: ModelManifest, data: bytes) -> bool:
        """Store a model, and read it back. Returns False when exactly this model was there already.

        Raises:
            PermanentError: another model has this version. Runs name versions, so a version never changes its weights.
        """
        present = await self._find(manifest.model_version)
        if present is not None and present.sha256 != manifest.sha256:
            raise PermanentError(
                f"model {manifest.model_version} is there already with SHA-256 {present.sha256}, "
                f"this file has {manifest.sha256}; choose another version"
            )
        if present is not None:
            return False
        key = self._keys.model(manifest.model_version, manifest.file)
        await self._store.put(key, data)
        read_back = await self._store.get(key, MAX_WEIGHTS_BYTES)
        if await asyncio.to_thread(_sha256, read_back) != manifest.sha256:
            raise TransientError(f"{key} reads back as other bytes than were put; push again")
        await self._store.put(
            self._keys.model(manifest.model_version, MANIFEST), orjson.dumps(asdict(manifest), option=orjson.OPT_INDENT_2)
        )
        return True

    async def versions(self) -> list[str]:
        """Versions of all stored models, ascending."""
        prefix, found = self._keys.model_prefix(), []
        async for key in self._store.list_keys(prefix):
            version, _, file = key.removeprefix(prefix).partition("/")
            if file == MANIFEST and MODEL_VERSION.fullmatch(version):
                found.append(version)
        return sorted(found)

    async def manifest(self, model_version: str) -> ModelManifest:
        """What is stored under a version.

        Raises:
            UnknownModelError: nothing; the message lists what there is.
        """
        found = await self._find(model_version)
        if found is None:
            raise UnknownModelError(f"model {model_version} is not in the store; there are: {', '.join(await self.versions()) or 'none'}")
        return found

    async def fetch(self, manifest: ModelManifest) -> bytes:
        """A model's weights, whose hash is the manifest's.

        Raises:
            MissingObjectError: the weights are gone.
            CorruptInputError: they are not those the manifest names.
        """
        key = self._keys.model(manifest.model_version, manifest.file)
        data = await self._store.get(key, MAX_WEIGHTS_BYTES)
        found = await asyncio.to_thread(_sha256, data)
        if found != manifest.sha256:
            raise CorruptInputError(
                f"{key} has SHA-256 {found}, its manifest says {manifest.sha256}; push the model again under another version"
            )
        return data

    async def remove(self, model_version: str) -> ModelManifest:
        """Delete a model, its manifest first: what is half deleted is no model."""
        manifest = await self.manifest(model_version)
        await self._store.delete(self._keys.model(model_version, MANIFEST))
        await self._store.delete(self._keys.model(model_version, manifest.file))
        return manifest

    async def _find(self, model_version: str) -> ModelManifest | None:
        key = self._keys.model(model_version, MANIFEST)
        try:
            data = await self._store.get(key, MAX_MANIFEST_BYTES)
        except MissingObjectError:
            return None
        return _parse(data, key)


def _parse(data: bytes, key: str) -> ModelManifest:
    try:
        values: Any = orjson.loads(data)
        manifest = ModelManifest(**{name: values[name] for name in ModelManifest.__dataclass_fields__})
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise CorruptInputError(f"{key} is no manifest of a model: {error!r}") from error
    if not isinstance(manifest.file, str) or FILE_NAME.fullmatch(manifest.file) is None:
        raise CorruptInputError(f"{key} names the file {manifest.file!r}; expected a plain name beside it")
    return manifest


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
