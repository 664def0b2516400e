"""Which models there are: the built-in one, and those in the store."""

import asyncio
import hashlib
from dataclasses import dataclass
from pathlib import Path

from core.errors import CheckpointError, UnknownModelError
from core.files import write_whole
from core.logging import get_logger
from inference.builtin import builtin_checkpoint_path, builtin_checkpoint_sha256, builtin_model_version
from storage.models import ModelStore

log = get_logger(__name__)

MODELS_KEPT = 4
"""Weights files that a worker keeps in its cache; the least recently used go first."""


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model version and the weights that it stands for.

    ``path`` is recorded as ``model_checkpoint_path``: a name for people, not a place to read from.
    """

    version: str
    checkpoint_sha256: str
    path: str


class ModelCatalog:
    """Resolves a version to the SHA-256 of its weights."""

    def __init__(self, stored: ModelStore) -> None:
        self._stored = stored
        self._builtin = ModelRef(builtin_model_version(), builtin_checkpoint_sha256(), f"builtin/{builtin_checkpoint_path().name}")

    @property
    def default_version(self) -> str:
        return self._builtin.version

    async def resolve(self, version: str) -> ModelRef:
        """Find a model.

        Raises:
            UnknownModelError: there is none of this version; lists those there are.
        """
        if version == self._builtin.version:
            return self._builtin
        try:
            manifest = await self._stored.manifest(version)
        except UnknownModelError as error:
            raise UnknownModelError(f"{error}, and the built-in {self._builtin.version}") from None
        return ModelRef(version, manifest.sha256, f"{version}/{manifest.file}")


class ModelCache:
    """Weights files on this machine's disk, by their SHA-256. Several processes may share the folder."""

    def __init__(self, stored: ModelStore, folder: Path) -> None:
        self._stored, self._folder = stored, folder.expanduser()

    async def weights(self, version: str, sha256: str) -> Path:
        """A file with these weights; whoever loads it checks the hash once more.

        Raises:
            CheckpointError: the version now stands for other weights.
            UnknownModelError: there is no such version any more.
        """
        if version == builtin_model_version():
            return builtin_checkpoint_path()
        path = self._folder / sha256
        if await asyncio.to_thread(_holds, path, sha256):
            path.touch()
            return path
        manifest = await self._stored.manifest(version)
        if manifest.sha256 != sha256:
            raise CheckpointError(f"model {version} has SHA-256 {manifest.sha256} in the store, the run was admitted with {sha256}")
        data = await self._stored.fetch(manifest)
        self._make_room()
        write_whole(path, data)
        log.info("model.fetched", model_version=version, size_bytes=len(data))
        return path

    def _make_room(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        files = (path for path in self._folder.iterdir() if path.is_file() and not path.name.startswith("."))
        kept = sorted(files, key=lambda path: path.stat().st_mtime)
        for path in kept[: max(0, len(kept) - MODELS_KEPT + 1)]:
            path.unlink(missing_ok=True)


def _holds(path: Path, sha256: str) -> bool:
    """Whether the file is there and whole; a damaged one is fetched again."""
    if not path.exists():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256
