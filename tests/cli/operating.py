"""Shared by the tests of operators' commands: an installation without workers, and finished runs in it."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import pytest

from core.runs import FinishedRun
from core.settings import KeySettings, SupabaseSettings, WasabiSettings
from storage.connect import object_keys, open_rows, open_store
from storage.objects import ObjectStore
from storage.publish import publish_run
from storage.rows import Rows
from storage.run_db import build_run_db
from tests.cli.processes import clean_environment
from tests.conftest import Namespace
from tests.storage.admission_requests import limits, request
from tests.storage.finished_runs import finished_run

T = TypeVar("T")

FRAMES = 61


def move_in(namespace: Namespace, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Use an installation of the test's own, in a terminal of 100 columns."""
    monkeypatch.chdir(folder)
    for name in set(os.environ) - set(clean_environment()):
        monkeypatch.delenv(name)
    few = dict.fromkeys(("EXTENTS_WORK_PARTITIONS", "EXTENTS_REQUEST_PARTITIONS", "EXTENTS_RESULTS_PARTITIONS"), "1")
    for name, value in {**namespace.env, **few, "COLUMNS": "100"}.items():
        monkeypatch.setenv(name, value)


def with_both(action: Callable[[Rows, ObjectStore], Awaitable[T]]) -> T:
    """Do something with the database and the store that the settings name."""

    async def run() -> T:
        async with open_rows(SupabaseSettings()) as rows, open_store(WasabiSettings()) as store:
            return await action(rows, store)

    return asyncio.run(run())


def completed(tenant: UUID, video: UUID | None = None, **changes: object) -> FinishedRun:
    """Make a run with its request, rows and object."""
    force = bool(changes.pop("force", False))
    submitted = request(tenant, video, frame_count=FRAMES, force=force, **{k: v for k, v in changes.items() if k == "model_version"})

    async def run(rows: Rows, store: ObjectStore) -> FinishedRun:
        await rows.admit(submitted, limits(rate_limit_seconds=0))
        ids = {name: getattr(submitted, name) for name in ("run_id", "request_id", "tenant_id", "video_id", "model_version")}
        made = finished_run(FRAMES - 1, **{"cropped_frames_version": 1, **ids, **changes})
        await rows.complete_run(made, await publish_run(store, object_keys(KeySettings()), made, build_run_db(made)))
        return made

    return with_both(run)
