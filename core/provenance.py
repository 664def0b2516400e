"""Formats a run's provenance for people."""

from collections.abc import Mapping
from typing import Final

_SHOWN_ABOVE: Final = frozenset({"video_id", "tenant_id", "attempt"})
"""Identity, which every listing shows with the run itself."""


def readable_provenance(provenance: Mapping[str, str]) -> list[tuple[str, str]]:
    """List the keys that say how a run was computed, without empty values; seconds are rounded to milliseconds."""
    return [(key, _rounded(key, value)) for key, value in provenance.items() if key not in _SHOWN_ABOVE and value]


def _rounded(key: str, value: str) -> str:
    if not key.endswith("_seconds"):
        return value
    try:
        return f"{float(value):.3f}"
    except ValueError:  # somebody else's key
        return value
