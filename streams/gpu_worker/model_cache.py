"""Weights files on the worker's own disk."""

import asyncio
import contextlib
import hashlib
import os
import re
import time
from pathlib import Path
from typing import Final

from core.errors import CheckpointError, ConfigurationError, PermanentError
from core.files import PARTIAL, write_whole
from core.logging import get_logger
from inference.models.builtin import builtin_checkpoint_path, builtin_model_version
from storage.model_store import ModelStore

log = get_logger(__name__)

MODELS_KEPT: Final = 4
"""Weights files that a worker keeps in its cache; the least recently used go first."""

ABANDONED_SECONDS: Final = 3600.0
"""A file that has been partial for so long is of a process that was killed; writing one takes seconds."""

_CACHE_FILE: Final = re.compile(rf"[0-9a-f]{{64}}|(?P<partial>\.[0-9a-f]{{64}}\..*{re.escape(PARTIAL)})")


class ModelCache:
    """Weights files on this machine's disk, by their SHA-256. Several processes may share the folder."""

    def __init__(self, stored: ModelStore, folder: Path) -> None:
        self._stored, self._folder = stored, folder.expanduser()

    async def weights(self, version: str, sha256: str) -> Path:
        """A file with these weights; whoever loads it checks the hash once more.

        Args:
            sha256: as a work record or a manifest holds it, checked there: it names the file.

        Raises:
            CheckpointError: the version now stands for other weights.
            UnknownModelError: there is no such version any more.
            ConfigurationError: the folder cannot be written: the fault of this machine, not of the model.
        """
        if version == builtin_model_version():
            return builtin_checkpoint_path()
        path = self._folder / sha256
        if await asyncio.to_thread(_is_intact, path, sha256):
            return path
        manifest = await self._stored.manifest(version)
        if manifest.sha256 != sha256:
            raise CheckpointError(f"model {version} has SHA-256 {manifest.sha256} in the store, the run was admitted with {sha256}")
        data = await self._stored.fetch(manifest)
        await asyncio.to_thread(self._keep, path, data)
        log.info("model.fetched", model_version=version, size_bytes=len(data))
        return path

    def _keep(self, path: Path, data: bytes) -> None:
        try:
            write_whole(path, data)
        except PermanentError as error:
            raise ConfigurationError(f"{error}; EXTENTS_MODEL_CACHE must name a folder that this process may write") from error
        kept: list[tuple[float, Path]] = []
        for file in self._folder.iterdir():
            match = _CACHE_FILE.fullmatch(file.name)  # the folder may hold anything else
            with contextlib.suppress(FileNotFoundError):  # another process makes room as well
                if match and match["partial"]:
                    if time.time() - file.stat().st_mtime > ABANDONED_SECONDS:
                        file.unlink()
                elif match:
                    kept.append((file.stat().st_mtime, file))
        for _, file in sorted(kept)[:-MODELS_KEPT]:
            file.unlink(missing_ok=True)


def _is_intact(path: Path, sha256: str) -> bool:
    """Whether the file is there and whole, which then counts as used; one that is damaged or cannot be read is fetched again."""
    try:
        with path.open("rb") as file:
            intact = hashlib.file_digest(file, "sha256").hexdigest() == sha256
            if intact:
                os.utime(file.fileno())  # never by its name: another process may have removed it meanwhile
    except OSError:
        return False
    return intact
