"""What an operator may change from the page. Each action is written to the audit table first, so that each leaves a trace."""

from datetime import UTC, datetime
from uuid import UUID

from core.errors import MissingObjectError
from pages.live.sessions import Session
from storage.listings import Listings


async def acknowledge_rejection(listings: Listings, session: Session, rejection_id: UUID) -> None:
    """Mark a rejection as dealt with. One that is already acknowledged is left unchanged.

    Raises:
        MissingObjectError: the rejection does not exist.
    """
    row = await listings.rejection(str(rejection_id))
    if row is None:
        raise MissingObjectError(f"no rejection {rejection_id}")
    if row["acknowledged"]:
        return
    await _audit(listings, session, "rejection.acknowledged", str(rejection_id))
    values = {"acknowledged": True, "acknowledged_at": datetime.now(UTC).isoformat()}
    await listings.update("rejections", values, {"id": str(rejection_id)})


async def _audit(listings: Listings, session: Session, action: str, target: str) -> None:
    row = {"session_id": session.id, "role": session.role.value, "name": session.name or None, "action": action, "target": target}
    await listings.insert("page_actions", [row])
