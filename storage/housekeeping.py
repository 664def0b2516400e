"""Deletes runs, the row before the object, so that a reader of rows never finds one whose object is missing."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from storage.database import Database
from storage.objects import ObjectStore


async def delete_run(database: Database, store: ObjectStore, run: Mapping[str, Any]) -> None:
    """Delete a run of the history: its row if it has one, and its object. The history then marks the run as deleted.

    Each step may be repeated: if the process is killed between them, the next call does the rest.
    """
    await database.delete("runs", {"run_id": run["run_id"]})
    await store.delete(run["wasabi_storage_key"])
    await database.update("run_history", {"deleted_at": datetime.now(UTC).isoformat()}, {"run_id": run["run_id"], "deleted_at": None})
