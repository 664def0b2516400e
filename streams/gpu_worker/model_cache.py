"""Caches weights files on the worker's disk."""

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
from core.metrics import MODEL_CACHE
from inference.models.builtin import builtin_checkpoint_path, builtin_model_version
from storage.model_store import ModelStore

log = get_logger(__name__)

MODELS_KEPT: Final = 4
"""Weights files kept in the cache; the least recently used are removed first."""

ABANDONED_SECONDS: Final = 3600.0
"""A partial file older than this was left by a killed process; writing one takes seconds."""

_CACHE_FILE: Final = re.compile(rf"[0-9a-f]{{64}}|(?P<partial>\.[0-9a-f]{{64}}\..*{re.escape(PARTIAL)})")


class ModelCache:
    """Weights files on this machine's disk, named by their SHA-256. Several processes may share the folder."""

    def __init__(self, stored: ModelStore, folder: Path) -> None:
        self._stored, self._folder = stored, folder.expanduser()

    async def weights(self, version: str, sha256: str) -> Path:
        """Return a file with these weights, fetching it if necessary. The loader checks the hash again.

        Args:
            sha256: validated where the work record or manifest was parsed, since it names the file.

        Raises:
            CheckpointError: the version now has other weights.
            UnknownModelError: the version no longer exists.
            ConfigurationError: the folder cannot be written, which is a fault of this machine and not of the model.
        """
        if version == builtin_model_version():
            return builtin_checkpoint_path()
        path = self._folder / sha256
        if await asyncio.to_thread(_is_intact, path, sha256):
            MODEL_CACHE.labels("hit").inc()
            return path
        MODEL_CACHE.labels("miss").inc()
        manifest = await self._stored.manifest(version)
        if manifest.sha256 != sha256:
            raise CheckpointError(f"model {version} has SHA-256 {manifest.sha256} in the store, but the run was admitted with {sha256}")
        data = await self._stored.fetch(manifest)
        await asyncio.to_thread(self._keep, path, data)
        log.info("model.fetched", model_version=version, size_bytes=len(data))
        return path

    def _keep(self, path: Path, data: bytes) -> None:
        try:
            write_whole(path, data)
        except PermanentError as error:
            raise ConfigurationError(f"{error}; EXTENTS_MODEL_CACHE must name a folder to which this process may write") from error
        kept: list[tuple[float, Path]] = []
        for file in self._folder.iterdir():
            match = _CACHE_FILE.fullmatch(file.name)  # the folder may contain other files
            with contextlib.suppress(FileNotFoundError):  # another process may remove it first
                if match and match["partial"]:
                    if time.time() - file.stat().st_mtime > ABANDONED_SECONDS:
                        file.unlink()
                elif match:
                    kept.append((file.stat().st_mtime, file))
        for _, file in sorted(kept)[:-MODELS_KEPT]:
            file.unlink(missing_ok=True)


def _is_intact(path: Path, sha256: str) -> bool:
    """Whether the file exists and is intact. If so, mark it as used. A damaged or unreadable file is fetched again."""
    try:
        with path.open("rb") as file:
            intact = hashlib.file_digest(file, "sha256").hexdigest() == sha256
            if intact:
                os.utime(file.fileno())  # by descriptor: another process may have removed the name
    except OSError:
        return False
    return intact
