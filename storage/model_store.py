"""Models in the object store: a weights file, and a manifest that is written after it. A model without a manifest does not exist."""

import asyncio
import hashlib
from dataclasses import asdict, dataclass
from typing import Annotated, Final

import orjson
from pydantic import ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError, with_config

from core.errors import CorruptInputError, ExistingObjectError, MissingObjectError, PermanentError, TransientError, UnknownModelError
from core.patterns import Sha256
from core.types import MODEL_VERSION
from storage.keys import FILE_NAME, Keys
from storage.objects import ObjectStore

MANIFEST: Final = "manifest.json"
MAX_MANIFEST_BYTES: Final = 64 * 1024
MAX_WEIGHTS_BYTES: Final = 4 * 1024**3
"""Weights are held in memory while they are fetched. The production model has 137 MB."""


@with_config(ConfigDict(strict=True, extra="ignore"))
@dataclass(frozen=True, slots=True)
class ModelManifest:
    """Describes a stored model.

    Attributes:
        file: name of the weights file beside the manifest.
        sha256: hash of the weights file, in lower case; it also names the file in the workers' caches.
    """

    model_version: str
    file: Annotated[str, StringConstraints(pattern=f"^{FILE_NAME.pattern}$")]
    sha256: Sha256
    size_bytes: Annotated[int, Field(ge=0)]
    architecture_name: str


_MANIFEST: Final = TypeAdapter(ModelManifest)


class ModelStore:
    """The models in one bucket. It never retries; errors are those of ``ObjectStore``."""

    def __init__(self, store: ObjectStore, keys: Keys) -> None:
        self._store, self._keys = store, keys

    async def push(self, manifest: ModelManifest, data: bytes) -> bool:
        """Store a model and read it back. Returns False if exactly this model already exists and is intact.

        Missing or damaged weights are replaced, since their version still refers to them.

        Raises:
            PermanentError: another model has this version. Runs refer to versions, so a version's weights never change.
        """
        present = await self._find(manifest.model_version)
        if present is not None:
            if present.sha256 != manifest.sha256:
                raise PermanentError(
                    f"model {manifest.model_version} exists already with SHA-256 {present.sha256}, "
                    f"this file has {manifest.sha256}; choose another version"
                )
            try:
                await self.fetch(present)
                return False
            except (MissingObjectError, CorruptInputError):
                manifest = present
        key = self._keys.model(manifest.model_version, manifest.file)
        await self._store.put(key, data)
        read_back = await self._store.get(key, MAX_WEIGHTS_BYTES)
        if await asyncio.to_thread(_sha256, read_back) != manifest.sha256:
            raise TransientError(f"{key} reads back differently from what was written; push again")
        if present is None:
            text = orjson.dumps(asdict(manifest), option=orjson.OPT_INDENT_2)
            try:
                await self._store.put(self._keys.model(manifest.model_version, MANIFEST), text, replace=False)
            except ExistingObjectError:  # another process pushed this version meanwhile
                return await self.push(manifest, data)
        return True

    async def versions(self) -> list[str]:
        """Versions of all stored models, ascending."""
        prefix, versions = self._keys.model_prefix(), []
        async for key in self._store.list_keys(prefix):
            version, _, file = key.removeprefix(prefix).partition("/")
            if file == MANIFEST and MODEL_VERSION.fullmatch(version):
                versions.append(version)
        return sorted(versions)

    async def manifest(self, model_version: str) -> ModelManifest:
        """Read the manifest of a version.

        Raises:
            UnknownModelError: the version does not exist; the message lists those that do.
        """
        manifest = await self._find(model_version)
        if manifest is None:
            raise UnknownModelError(f"model {model_version} is not in the store; there are: {', '.join(await self.versions()) or 'none'}")
        return manifest

    async def fetch(self, manifest: ModelManifest) -> bytes:
        """Read a model's weights and check them against the manifest.

        Raises:
            MissingObjectError: the weights are missing.
            CorruptInputError: the hash differs from the manifest's.
        """
        key = self._keys.model(manifest.model_version, manifest.file)
        data = await self._store.get(key, MAX_WEIGHTS_BYTES)
        actual = await asyncio.to_thread(_sha256, data)
        if actual != manifest.sha256:
            raise CorruptInputError(
                f"{key} has SHA-256 {actual}, its manifest says {manifest.sha256}; push the same file again, or remove the model"
            )
        return data

    async def remove(self, model_version: str) -> ModelManifest | None:
        """Delete a model, its manifest first, so that an interrupted deletion leaves no model without weights.

        Returns:
            The manifest; None if it could not be read. Then only the manifest is deleted, which frees the version.
        """
        try:
            manifest = await self.manifest(model_version)
        except CorruptInputError:
            manifest = None
        await self._store.delete(self._keys.model(model_version, MANIFEST))
        if manifest is not None:
            await self._store.delete(self._keys.model(model_version, manifest.file))
        return manifest

    async def _find(self, model_version: str) -> ModelManifest | None:
        key = self._keys.model(model_version, MANIFEST)
        try:
            data = await self._store.get(key, MAX_MANIFEST_BYTES)
        except MissingObjectError:
            return None
        return _parse(data, key, model_version)


def _parse(data: bytes, key: str, model_version: str) -> ModelManifest:
    try:
        manifest = _MANIFEST.validate_json(data)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(map(str, fault["loc"])) or "it"
        raise CorruptInputError(f"{key} is not a model manifest: {where}: {fault['msg']}, found {fault['input']!r:.100}") from error
    if manifest.model_version != model_version:
        raise CorruptInputError(f"{key} is the manifest of model {manifest.model_version}; push the model under its own version")
    return manifest


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
