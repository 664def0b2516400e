"""Builds object keys from ids, using templates from the settings."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Final
from uuid import UUID

from core.errors import ConfigurationError
from core.types import MODEL_VERSION

FILE_NAME: Final = MODEL_VERSION

_FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "chunk": frozenset({"tenant_id", "video_id", "version", "chunk"}),
    "layout": frozenset({"tenant_id", "video_id"}),
    "run_db": frozenset({"tenant_id", "video_id", "version", "model_version_8", "run_id"}),
    "model": frozenset({"model_version", "file"}),
}

_SHORT: Final[Mapping[str, str]] = {"run_id_8": "run_id"}
"""Fields that may replace another: the former service named its files by the first 8 characters of a run id."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The key of each kind of object. Ids are ``UUID``s, so no unvalidated text of a request gets into a key.

    Raises:
        ConfigurationError: a template lacks one of its fields, so that two objects would share a key, or has an unknown field.
    """

    chunk_template: str
    layout_template: str
    run_db_template: str
    model_template: str

    def __post_init__(self) -> None:
        for kind, fields in _FIELDS.items():
            _check_template(kind, getattr(self, f"{kind}_template"), fields)

    @property
    def videos_prefix(self) -> str:
        """The common prefix of all chunks' keys for all tenants; empty if the template begins with an id."""
        return self.chunk_template.partition("{")[0]

    @property
    def trial_folder(self) -> str:
        """The prefix of trial objects, which are written to check permissions. docs/deployment.md lists those that it needs."""
        return f"{self.videos_prefix}extents-check/"

    def chunk(self, tenant_id: UUID, video_id: UUID, version: int, name: str) -> str:
        """Return the key of a chunk. ``name`` is the name of a ``core.frames.Chunk``."""
        return self.chunk_template.format(tenant_id=tenant_id, video_id=video_id, version=_checked_version(version), chunk=name)

    def chunk_prefix(self, tenant_id: UUID, video_id: UUID, version: int, folder: str) -> str:
        """Return the common prefix of the keys of all chunks whose names begin with ``folder``."""
        before, _, _ = self.chunk_template.partition("{chunk}")
        return before.format(tenant_id=tenant_id, video_id=video_id, version=_checked_version(version)) + folder

    def layout(self, tenant_id: UUID, video_id: UUID) -> str:
        return self.layout_template.format(tenant_id=tenant_id, video_id=video_id)

    def run_db(self, tenant_id: UUID, video_id: UUID, version: int, model_version: str, run_id: UUID) -> str:
        model = _matching(MODEL_VERSION, "model version", model_version)[:8]
        return self.run_db_template.format(
            tenant_id=tenant_id,
            video_id=video_id,
            version=_checked_version(version),
            model_version_8=model,
            run_id=run_id,
            run_id_8=str(run_id)[:8],
        )

    def model(self, model_version: str, file: str) -> str:
        return self.model_template.format(
            model_version=_matching(MODEL_VERSION, "model version", model_version), file=_matching(FILE_NAME, "model file", file)
        )

    def model_prefix(self) -> str:
        """The common prefix of the keys of all models."""
        return self.model_template.partition("{model_version}")[0]


def _check_template(kind: str, template: str, fields: frozenset[str]) -> None:
    setting, expected = f"EXTENTS_KEY_{kind.upper()}", ", ".join(f"{{{field}}}" for field in sorted(fields))
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise ConfigurationError(f"{setting} is {template!r}: {error}; expected a key with {expected}") from error
    if any(field is not None and (form or conversion) for _, field, form, conversion in parts):
        raise ConfigurationError(f"{setting} is {template!r}; expected the fields {expected} without a format or conversion")
    field_names = [_SHORT.get(field, field) if field not in fields else field for _, field, _, _ in parts if field is not None]
    if sorted(field_names) != sorted(fields):
        raise ConfigurationError(f"{setting} is {template!r}; expected each of {expected} once and no other field")
    if template.startswith("/"):
        raise ConfigurationError(f"{setting} is {template!r}; a key does not begin with a slash")


def _checked_version(version: int) -> int:
    if version < 1:
        raise ValueError(f"cropped-frames version {version}; expected 1 or more")
    return version


def _matching(pattern: re.Pattern[str], kind: str, text: str) -> str:
    if pattern.fullmatch(text) is None:
        raise ValueError(f"{kind} {text!r}; expected {pattern.pattern}")
    return text
