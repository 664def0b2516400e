"""The model that most runs get by default."""

from uuid import UUID

from core.model_choice import ModelChoice, choose_model
from core.settings import AdmissionSettings
from inference.models.builtin import builtin_model_version
from storage.listings import Listings

_NOBODY = UUID(int=0)


async def usual_model(listings: Listings, settings: AdmissionSettings) -> ModelChoice:
    """Return the model that admission chooses for a video outside every share, of a tenant without a promotion of its own."""
    whole = [promotion for promotion in await listings.promotions() if promotion.percent == 100 and promotion.tenant_id is None]
    return choose_model(whole, settings.model_version, builtin_model_version(), _NOBODY, _NOBODY)
