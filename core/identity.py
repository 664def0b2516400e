"""Deterministic ids, derived from what they name, so that a repeated step produces the same ids."""

from typing import Final
from uuid import UUID, uuid5

NAMESPACE: Final = UUID("6f0c7f5e-3b1d-5c8a-9a44-0e7d52b6c1f3")
"""The namespace of all our UUIDv5s. It must never change, because existing run ids are derived from it."""

LOCAL_TENANT: Final = uuid5(NAMESPACE, "local")
"""The tenant of videos in local folders. No tenant of the service has this id."""


def parse_uuid(text: str) -> UUID:
    """Parse a UUID strictly: 8-4-4-4-12 hexadecimal digits with hyphens, nothing around them.

    Raises:
        ValueError: another spelling that ``uuid.UUID`` accepts (braces, urn:, no hyphens), or not a UUID at all.
    """
    try:
        parsed = UUID(text)
    except ValueError:
        parsed = None
    if parsed is None or str(parsed) != text.lower():
        shown = repr(text) if len(text) <= 50 else f"{text[:50]!r}…"  # untrusted input of any size
        raise ValueError(f"{shown} is not written as 8-4-4-4-12 hexadecimal digits")
    return parsed


def request_id(tenant_id: UUID, video_id: UUID, version: int, source: str) -> UUID:
    """The id of one ``video.encoded`` record. ``source`` is its event_id or, without one, ``topic/partition/offset``."""
    return uuid5(NAMESPACE, f"request/{tenant_id}/{video_id}/{version}/{source}")


def run_id(tenant_id: UUID, video_id: UUID, version: int, model_version: str, forced_by: UUID | None = None) -> UUID:
    """The id of a run. The same video, version and model give the same run, unless a request forces its own."""
    name = f"{tenant_id}/{video_id}/{version}/{model_version}"
    return uuid5(NAMESPACE, name if forced_by is None else f"{name}/{forced_by}")


def outcome_event_id(run: UUID, attempt: int, outcome: str) -> UUID:
    """``ce_id`` of a run's outcome."""
    return uuid5(NAMESPACE, f"event/{run}/{attempt}/{outcome}")


def request_event_id(request: UUID, outcome: str) -> UUID:
    """``ce_id`` of an outcome for a single request: a rejection, a deduplicated run, or a late answer."""
    return uuid5(NAMESPACE, f"event/{request}/{outcome}")
