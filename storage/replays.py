"""Replays as the database keeps them: their plan, their items, and who carries them out."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from storage.listings import Listings, Row

ACTIVE: Final = ("sampling", "running")
ITEMS_A_CALL: Final = 500


class Replays(Listings):
    """A state only changes from those that it may follow, so that concurrent changes do not undo each other."""

    async def create(self, replay: Mapping[str, Any], items: Sequence[Mapping[str, Any]]) -> bool:
        """Store a plan; False if there is a replay of this name already. An interrupted plan has fewer items than it says."""
        if not await self.insert("replays", [dict(replay)], ignore_conflicts_on="replay_id"):
            return False
        rows = [{**item, "replay_id": replay["replay_id"], "number": number} for number, item in enumerate(items)]
        for begin in range(0, len(rows), ITEMS_A_CALL):
            await self.insert("replay_items", rows[begin : begin + ITEMS_A_CALL])
        return True

    async def change(self, replay_id: str, before: Sequence[str], state: str, **values: Any) -> bool:
        """Set a replay's state, if it is in one of ``before``; False otherwise."""
        fields = {"state": state, "reason": None, "updated_at": datetime.now(UTC).isoformat(), **values}
        return bool(await self.update("replays", fields, {"replay_id": replay_id}, state=list(before)))

    async def claim(self, owner: str, lease_seconds: float) -> list[Row]:
        """The active replays that ``owner`` carries out from now until the lease is over."""
        rows: list[Row] = await self.call("claim_replays", {"owner": owner, "lease_seconds": lease_seconds})
        return rows

    async def waiting_items(self, replay_id: str, count: int) -> list[Row]:
        """The next items that were not sent, in their order."""
        rows: list[Row] = await self.call("waiting_replay_items", {"replay": replay_id, "max_rows": count})
        return rows

    async def mark_sent(self, replay_id: str, numbers: Sequence[int]) -> None:
        await self.call("mark_replay_sent", {"replay": replay_id, "numbers": list(numbers)})
