"""Chooses the model of a run whose request names none. Pure: promotions go in, a version and its reason come out."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Promotion:
    """An operator's decision to run a version by default.

    Attributes:
        percent: share of the videos. They are chosen by id, so a larger share includes every video of a smaller one.
        tenant_id: None for every tenant.
    """

    number: int
    model_version: str
    percent: int
    tenant_id: UUID | None


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The model of a run. ``reason`` is stored with the run and says why it got this model."""

    version: str
    reason: str


def choose_model(promotions: Sequence[Promotion], override: str | None, builtin: str, tenant_id: UUID, video_id: UUID) -> ModelChoice:
    """Choose the model for a request that names none.

    A tenant's own promotions take precedence over those for all tenants, and newer promotions over older ones. A video outside a
    promotion's share gets the model of the next promotion.

    Args:
        promotions: those that were not withdrawn, newest first.
        override: EXTENTS_MODEL_VERSION, which takes precedence over all of them.
    """
    if override is not None:
        return ModelChoice(override, "EXTENTS_MODEL_VERSION")
    own = [promotion for promotion in promotions if promotion.tenant_id == tenant_id]
    for promotion in (*own, *(promotion for promotion in promotions if promotion.tenant_id is None)):
        if bucket(video_id) < promotion.percent:
            share = "" if promotion.percent == 100 else f", {promotion.percent}% of videos"
            whose = "" if promotion.tenant_id is None else ", this tenant"
            return ModelChoice(promotion.model_version, f"promotion {promotion.number}{share}{whose}")
    return ModelChoice(builtin, "built in")


def bucket(video_id: UUID) -> int:
    """0 to 99, always the same for a video."""
    return int.from_bytes(hashlib.sha256(video_id.bytes).digest()[:8], "big") % 100
