"""Opens the run that a command is about: a file, or a run in the store, found by its id."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from core.errors import MissingObjectError
from core.settings import Settings
from storage.run_db_reader import MAX_RUN_DB_BYTES, RunDatabase, read_run_db, read_run_file


@dataclass(frozen=True, slots=True)
class OpenedRun:
    """A run, and the file that it was read from; None for one from the store."""

    run: RunDatabase
    path: Path | None


def open_run(name: str) -> OpenedRun:
    """Read a run database by its path or by its run's id.

    Raises:
        MissingObjectError: there is no such file, and no finished run with this id, or its object is gone.
        CorruptInputError: the file or object is not a run database.
        ConfigurationError: there is no such file, and settings of the store or the database are missing.
    """
    path = Path(name)
    if path.is_file():
        return OpenedRun(read_run_file(path), path)
    if path.suffix or path.name != name:  # no id of a run looks like this
        raise MissingObjectError(f"{name}: no such file")
    return OpenedRun(asyncio.run(_fetch(Settings(), name)), None)


async def _fetch(settings: Settings, run_id: str) -> RunDatabase:
    # Imported here, so that a file needs neither the store's client nor the database's.
    from storage.connect import open_rows, open_store

    async with open_rows(settings.supabase) as rows, open_store(settings.wasabi) as store:
        row = await rows.find_run_by_id(run_id)
        if row is None:
            raise MissingObjectError(f"{run_id}: neither a file nor a finished run of schema {settings.supabase.schema_name}")
        data = await store.get(row.storage_key, MAX_RUN_DB_BYTES)
    return read_run_db(data, row.storage_key)
