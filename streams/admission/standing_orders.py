"""Operators' decisions that apply to all requests: the default model, purged videos, and the daily budget."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from core.admission import Rejection
from core.model_choice import ModelChoice, Promotion, choose_model
from core.settings import AdmissionSettings, variable
from core.types import Priority, RejectionType
from storage.listings import Listings
from streams.admission.candidate import Candidate
from streams.runtime.assignment import Assignment
from streams.runtime.circuit_breaker import CircuitBreaker

KEPT_SECONDS: Final = 5.0
"""How long the promotions and the day's cost are used before they are read again."""


@dataclass(slots=True)
class StandingOrders:
    """Reads these decisions from the database and caches them for a few seconds. Belongs to one event loop."""

    settings: AdmissionSettings
    listings: Listings
    database_breaker: CircuitBreaker
    builtin: str
    _promotions: Sequence[Promotion] = ()
    _promotions_until: float = 0.0
    _spent_usd: float = 0.0
    _spent_until: float = 0.0

    async def refresh(self, assignment: Assignment) -> None:
        """Read the promotions, unless they were read just now."""
        if time.monotonic() >= self._promotions_until:
            self._promotions = await self.database_breaker.call(assignment, self.listings.promotions)
            self._promotions_until = time.monotonic() + KEPT_SECONDS

    def choose(self, tenant_id: UUID, video_id: UUID) -> ModelChoice:
        """The model of a request that names none."""
        return choose_model(self._promotions, self.settings.model_version, self.builtin, tenant_id, video_id)

    async def refuse_purged(self, candidate: Candidate) -> Candidate:
        """Reject a request whose video, or whose tenant's videos, were purged."""
        tenant_id, video_id = candidate.request.tenant_id, candidate.request.video_id
        purge = await self.database_breaker.call(candidate.assignment, lambda: self.listings.purge_of(tenant_id, video_id))
        if purge is None:
            return candidate
        what = f"video {video_id}" if purge["video_id"] else f"all of tenant {tenant_id}"
        reason = f": {purge['reason']}" if purge["reason"] else ""
        message = (
            f"{what} was purged on {purge['created_at'][:10]} by {purge['purged_by']}{reason}; to allow it again: extents purge --undo"
        )
        return candidate.rejected(Rejection(RejectionType.VALIDATION_FAILED, message))

    async def refuse_over_budget(self, candidate: Candidate) -> Candidate:
        """Reject a high-priority request that needs a new run when the day's budget is used up. A finished run costs nothing."""
        request = candidate.request
        if request.priority is Priority.LOW or request.rejection is not None or request.found_run is not None:
            return candidate
        rejection = await self.over_budget(candidate.assignment)
        return candidate if rejection is None else candidate.rejected(rejection)

    async def over_budget(self, assignment: Assignment) -> Rejection | None:
        """Return why no more runs may start today; None unless a budget is set and used up. Days are in UTC."""
        budget = self.settings.daily_budget_usd
        if budget is None:
            return None
        if time.monotonic() >= self._spent_until:
            midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
            overview = await self.database_breaker.call(assignment, lambda: self.listings.overview(midnight, midnight))
            self._spent_usd = overview["gpu_seconds_today"] / 3600 * self.settings.gpu_usd_per_hour + overview["open_usd"]
            self._spent_until = time.monotonic() + KEPT_SECONDS
        if self._spent_usd < budget:
            return None
        tomorrow = datetime.now(UTC).date() + timedelta(days=1)
        setting = variable(AdmissionSettings, "daily_budget_usd")
        message = (
            f"${self._spent_usd:.2f} has been spent or committed today; the limit is ${budget:.2f} ({setting}), until {tomorrow} 00:00 UTC"
        )
        return Rejection(RejectionType.COST_EXCEEDED, message)
