"""Publishes a run's database to the store once: a complete existing object is adopted, and a new one is read back."""

import asyncio
import hashlib
from typing import Final
from uuid import UUID

from core.errors import CorruptInputError, MissingObjectError, TransientError
from core.runs import FinishedRun, StoredRun
from storage.keys import Keys
from storage.objects import ObjectStore
from storage.run_db_reader import MAX_RUN_DB_BYTES, RunDatabase, read_run_db

CONTENT_TYPE: Final = "application/x-sqlite3"

_COPIES: Final = 3
"""Copies of a file while it is read: as fetched, as SQLite holds it, and the values read from it."""


async def publish_run(store: ObjectStore, keys: Keys, run: FinishedRun, data: bytes) -> StoredRun:
    """Store the run's database, ``data``, under its key, and describe what was read back.

    A complete object of this run is kept, even if a later attempt wrote it, in which case the caller has been superseded. Any
    other object under the key is damaged or belongs to an earlier attempt, and is replaced.

    Raises:
        TransientError: the store is unreachable, or the object reads back differently.
    """
    key = keys.run_db(run.tenant_id, run.video_id, run.cropped_frames_version, run.model_version, run.run_id)
    present = await _read_present(store, key)
    if present == data:
        return await _stored(key, present, run.attempt, adopted=True)
    if present is not None:
        existing = await asyncio.to_thread(_complete, present, key, run)
        if existing is not None and existing.attempt >= run.attempt:
            return await _stored(key, present, existing.attempt, adopted=True)
    await store.put(key, data, {"run-id": str(run.run_id), "attempt": str(run.attempt)}, content_type=CONTENT_TYPE)
    read_back = await _read_present(store, key)
    if read_back != data:
        actual = "nothing" if read_back is None else f"{len(read_back)} bytes, SHA-256 {await _sha256(read_back)}"
        expected = f"{len(data)} bytes, SHA-256 {await _sha256(data)}"
        raise TransientError(f"run {run.run_id}: read {actual} back from {key}; expected {expected}; not published")
    return await _stored(key, read_back, run.attempt, adopted=False)


async def verify_stored_run(store: ObjectStore, key: str, sha256: str | None) -> RunDatabase | None:
    """Read the run database that a row points to. None if it is missing or does not match the row.

    Args:
        sha256: the row's hash; None for rows of the old service, which did not store one.
    """
    try:
        async with store.hold(key, MAX_RUN_DB_BYTES, _COPIES) as data:
            if sha256 is not None and await _sha256(data) != sha256:
                return None
            return await asyncio.to_thread(read_run_db, data, key)
    except (MissingObjectError, CorruptInputError):
        return None


async def find_stored_run(store: ObjectStore, key: str, run_id: UUID) -> tuple[RunDatabase, StoredRun] | None:
    """Read a run's database without a row that points to it; None if the key has no complete database of this run."""
    data = await _read_present(store, key)
    if data is None:
        return None
    try:
        run = await asyncio.to_thread(read_run_db, data, key)
    except CorruptInputError:
        return None
    return (run, await _stored(key, data, run.attempt, adopted=True)) if run.run_id == str(run_id) else None


async def _read_present(store: ObjectStore, key: str) -> bytes | None:
    """Read the object; None if it is missing or too large to be a run database."""
    try:
        return await store.get(key, MAX_RUN_DB_BYTES)
    except (MissingObjectError, CorruptInputError):
        return None


def _complete(data: bytes, key: str, run: FinishedRun) -> RunDatabase | None:
    try:
        existing = read_run_db(data, key)
    except CorruptInputError:
        return None
    return existing if existing.run_id == str(run.run_id) and existing.pairs == run.pairs else None


async def _stored(key: str, data: bytes, attempt: int, *, adopted: bool) -> StoredRun:
    return StoredRun(key, len(data), await _sha256(data), attempt, adopted)


async def _sha256(data: bytes) -> str:
    """Compute it in a thread, because 67 MB take a fifth of a second."""
    return await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
