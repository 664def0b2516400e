"""Resolves model versions: the built-in one and those in the object store."""

from dataclasses import dataclass

from core.errors import UnknownModelError
from inference.models.builtin import builtin_checkpoint_path, builtin_checkpoint_sha256, builtin_model_version
from storage.model_store import ModelStore


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model version and its weights.

    ``path`` is recorded as ``model_checkpoint_path``: a name for people, not a path to read from.
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
        """Find a model by its version.

        Raises:
            UnknownModelError: no such version exists; the message lists the versions that do.
        """
        if version == self._builtin.version:
            return self._builtin
        try:
            manifest = await self._stored.manifest(version)
        except UnknownModelError as error:
            raise UnknownModelError(f"{error}, and the built-in {self._builtin.version}") from None
        return ModelRef(version, manifest.sha256, f"{version}/{manifest.file}")
