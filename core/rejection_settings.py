"""Which setting would have admitted a rejected request."""

import re
from typing import Final

from core.settings import AdmissionSettings, variable
from core.types import RejectionType

_NAMED: Final = re.compile(r"\((EXTENTS_[A-Z_]+)\)")
_SETTING_OF: Final = {
    RejectionType.FRAME_COUNT_EXCEEDED: variable(AdmissionSettings, "max_frame_count"),
    RejectionType.COST_EXCEEDED: variable(AdmissionSettings, "max_cost_usd"),
    RejectionType.QUEUE_FULL: variable(AdmissionSettings, "queue_limit"),
    RejectionType.RATE_LIMITED: variable(AdmissionSettings, "max_high_jobs_per_hour"),
}


def setting_name(rejection_type: str, message: str = "") -> str:
    """The variable that the message names, or the type's usual one; empty if no setting would change the decision."""
    named = _NAMED.search(message)
    return named[1] if named else _SETTING_OF.get(RejectionType(rejection_type), "")


def setting_of(rejection_type: str, message: str, admission: AdmissionSettings) -> str:
    """The variable and its value in this process: ``EXTENTS_MAX_COST_USD, which is 1.0 here``."""
    name = setting_name(rejection_type, message)
    fields = {variable(AdmissionSettings, field): field for field in AdmissionSettings.model_fields}
    value = getattr(admission, fields[name]) if name in fields else None
    return f"{name}, which is {value} here" if value is not None else name
