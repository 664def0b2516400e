"""Replays in the database: their plan, their items, and which process carries them out."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from core.moments import parse_moment
from storage.listings import Listings, Row

ACTIVE: Final = ("sampling", "running")
NOT_ENDED: Final = ("planned", *ACTIVE, "paused")
ITEMS_A_CALL: Final = 500


class Replays(Listings):
    """A state changes only from states that may precede it, so that concurrent changes do not undo each other."""

    async def create(self, replay: Mapping[str, Any], items: Sequence[Mapping[str, Any]]) -> bool:
        """Store a plan; False if a replay of this name exists. A plan whose storing was interrupted has fewer items than it states."""
        if not await self.insert("replays", [dict(replay)], ignore_conflicts_on="replay_id"):
            return False
        rows = [{**item, "replay_id": replay["replay_id"], "number": number} for number, item in enumerate(items)]
        for begin in range(0, len(rows), ITEMS_A_CALL):
            await self.insert("replay_items", rows[begin : begin + ITEMS_A_CALL])
        return True

    async def change(self, replay_id: str, before: Sequence[str], state: str, **values: Any) -> bool:
        """Set a replay's state if it is one of ``before``. Returns whether it was."""
        fields = {"state": state, "reason": None, "updated_at": datetime.now(UTC).isoformat(), **values}
        return bool(await self.update("replays", fields, {"replay_id": replay_id}, state=list(before)))

    async def pause(self, replay_id: str, reason: str) -> bool:
        """Send nothing more until it is resumed; False if it is not active."""
        return await self.change(replay_id, ACTIVE, "paused", reason=reason)

    async def resume(self, replay: Row, **limits: Any) -> bool:
        """Continue a paused replay; False if it is not paused.

        Args:
            replay: its row. A replay paused because of its sample continues with all videos; an ``until`` that has passed is dropped.
            limits: columns that replace the former limits, such as ``max_cost_usd``.
        """
        until = replay["until_at"]
        expired = until is not None and parse_moment(until) <= datetime.now(UTC)
        sampled = replay["sample"] is not None or not replay["sample_size"]
        values = ({"until_at": None} if expired else {}) | limits
        return await self.change(replay["replay_id"], ["paused"], "running" if sampled else "sampling", **values)

    async def cancel(self, replay_id: str, reason: str) -> bool:
        """End it for good; False if it has ended. Runs in progress continue."""
        return await self.change(replay_id, NOT_ENDED, "cancelled", reason=reason, completed_at=datetime.now(UTC).isoformat())

    async def troubles(self, replay_id: str, count: int) -> list[Row]:
        """The first items that were rejected or failed."""
        rows: list[Row] = []
        first = 0
        while len(rows) < count:
            page = await self.replay_outcomes(replay_id, first)
            rows += [row for row in page if row["decision"] == "rejected" or row["status"] == "failed"]
            if not page:
                break
            first = page[-1]["number"] + 1
        return rows[:count]

    async def claim(self, owner: str, lease_seconds: float) -> list[Row]:
        """Return the active replays that ``owner`` carries out from now until the lease expires."""
        rows: list[Row] = await self.call("claim_replays", {"owner": owner, "lease_seconds": lease_seconds})
        return rows

    async def waiting_items(self, replay_id: str, count: int) -> list[Row]:
        """Return the next items that were not sent, in their order."""
        rows: list[Row] = await self.call("waiting_replay_items", {"replay": replay_id, "max_rows": count})
        return rows

    async def mark_sent(self, replay_id: str, numbers: Sequence[int]) -> None:
        await self.call("mark_replay_sent", {"replay": replay_id, "numbers": list(numbers)})
