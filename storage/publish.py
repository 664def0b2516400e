"""Puts a run's database into the store, once: what already lies there complete is adopted, what is put is read back."""

import asyncio
import hashlib

from core.errors import CorruptInputError, MissingObjectError, TransientError
from core.runs import FinishedRun, StoredRun
from storage.keys import Keys
from storage.objects import ObjectStore
from storage.run_db import MAX_RUN_DB_BYTES, RunDatabase, read_run_db


async def publish_run(store: ObjectStore, keys: Keys, run: FinishedRun, data: bytes) -> StoredRun:
    """Make the run's database, ``data``, lie under its key, and say what was read back from there.

    An object that reads back complete for this run is left as it is, also when a later attempt wrote it: then the caller
    is a process that was overtaken. Anything else under the key is damaged or of an earlier attempt, and is replaced.

    Raises:
        TransientError: the store is away, or what was read back is not what was put.
    """
    key = keys.run_db(run.tenant_id, run.video_id, run.cropped_frames_version, run.model_version, run.run_id)
    present = await _read_present(store, key)
    if present == data:
        return await _stored(key, present, run.attempt, adopted=True)
    if present is not None:
        existing = await asyncio.to_thread(_complete, present, key, run)
        if existing is not None and existing.attempt >= run.attempt:
            return await _stored(key, present, existing.attempt, adopted=True)
    await store.put(key, data, {"run-id": str(run.run_id), "attempt": str(run.attempt)})
    read_back = await _read_present(store, key)
    if read_back != data:
        actual = "nothing" if read_back is None else f"{len(read_back)} bytes, SHA-256 {await _sha256(read_back)}"
        expected = f"{len(data)} bytes, SHA-256 {await _sha256(data)}"
        raise TransientError(f"run {run.run_id}: read {actual} back from {key}; expected {expected}; not published")
    return await _stored(key, read_back, run.attempt, adopted=False)


async def verify_stored_run(store: ObjectStore, key: str, sha256: str | None) -> RunDatabase | None:
    """Read the run database that a row points to; None where it is not there, or is not what the row says.

    Args:
        sha256: of the row; None for rows of the old service, which kept no hash.
    """
    data = await _read_present(store, key)
    if data is None or (sha256 is not None and await _sha256(data) != sha256):
        return None
    try:
        return await asyncio.to_thread(read_run_db, data, key)
    except CorruptInputError:
        return None


async def _read_present(store: ObjectStore, key: str) -> bytes | None:
    """None where nothing is there, or something too large to be a run database."""
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
    """In a thread: 67 MB take a fifth of a second."""
    return await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
