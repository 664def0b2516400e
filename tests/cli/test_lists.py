"""``extents jobs``, ``runs`` and ``rejections``: lists, single rows and changes, with the real database."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar
from uuid import UUID, uuid4

import pytest

from core.admission import AdmissionRequest, Rejection
from core.runs import FinishedRun
from core.settings import SupabaseSettings, WasabiSettings
from core.types import Priority, RejectionType
from storage.connect import open_rows, open_store
from storage.rows import Rows
from tests.cli.processes import clean_environment
from tests.cli.snapshots import assert_looks_like
from tests.storage.admission_requests import complete, limits, request

T = TypeVar("T")


@pytest.fixture(autouse=True)
def environment(namespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """This test's installation, in a terminal of 100 columns."""
    monkeypatch.chdir(tmp_path)
    for name in set(os.environ) - set(clean_environment()):
        monkeypatch.delenv(name)
    for name, value in {**namespace.env, "COLUMNS": "100"}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def tenant() -> UUID:
    return uuid4()


def with_rows(action: Callable[[Rows], Awaitable[T]]) -> T:
    async def run() -> T:
        async with open_rows(SupabaseSettings()) as rows:
            return await action(rows)

    return asyncio.run(run())


def admitted(*requests: AdmissionRequest) -> None:
    async def run(rows: Rows) -> None:
        for submitted in requests:
            await rows.admit(submitted, limits(rate_limit_seconds=0))

    with_rows(run)


def completed(submitted: AdmissionRequest, data: bytes | None = None) -> FinishedRun:
    """Admit a request and complete its run, with an object if ``data`` is given."""
    admitted(submitted)

    async def run(rows: Rows) -> FinishedRun:
        return await complete(rows, submitted)

    finished = with_rows(run)
    if data is not None:

        async def put() -> None:
            async with open_store(WasabiSettings()) as store:
                await store.put(f"runs/{finished.run_id}.db", data)

        asyncio.run(put())
    return finished


def test_jobs_are_listed(extents, tenant: UUID) -> None:
    """Jobs are listed newest first, in a table of at most 100 columns, as JSON or as JSON lines."""
    old, new = request(tenant, replay_id="nightly", priority=Priority.LOW), request(tenant, frame_count=36_000)
    admitted(old, new)
    done = extents("jobs", "list", "--tenant", tenant)
    assert (done.status, done.err) == (0, "2 jobs\n")
    assert max(len(line.rstrip()) for line in done.out.splitlines()) <= 100
    ids = {"a": new.run_id, "b": new.video_id, "c": old.run_id, "d": old.video_id}
    assert_looks_like("jobs-list", done.out, ids, ages=True)
    assert [row["run_id"] for row in json.loads(extents("jobs", "list", "--tenant", tenant, "--json").out)] == [
        str(new.run_id),
        str(old.run_id),
    ]
    lines = extents("jobs", "list", "--replay", "nightly", "--tenant", tenant, "--json-lines").out.splitlines()
    assert [json.loads(line)["run_id"] for line in lines] == [str(old.run_id)]
    assert "there are more: --limit N or --all" in extents("jobs", "list", "--tenant", tenant, "--limit", 1).err


def test_a_job_is_shown_by_the_beginning_of_its_name(extents, tenant: UUID) -> None:
    """A job is shown by the first eight characters of its id; an unknown one gives status 1 and the command that lists jobs."""
    submitted = request(tenant, replay_id="nightly", priority=Priority.LOW)
    admitted(submitted)
    done = extents("jobs", "show", str(submitted.run_id)[:8])
    ids = {"a": str(submitted.run_id), "b": str(submitted.video_id), "c": str(tenant), "d": str(submitted.request_id)}
    assert_looks_like("jobs-show", done.out, ids)
    missing = extents("jobs", "show", "deadbeef")
    assert (missing.status, missing.out) == (1, "")
    assert "extents jobs list" in missing.err


def test_runs_are_listed_with_those_that_were_superseded(extents, tenant: UUID) -> None:
    """The list has the latest run and the superseded one, each with its state; ``--latest`` leaves the latter out."""
    first = request(tenant)
    old = completed(first)
    forced = request(tenant, first.video_id, force=True)
    new = completed(forced)
    done = extents("runs", "list", "--video", first.video_id)
    assert (done.status, done.err) == (0, "2 runs\n")
    assert_looks_like("runs-list", done.out, {"a": new.run_id, "b": first.video_id, "c": old.run_id}, ages=True)
    latest = json.loads(extents("runs", "list", "--video", first.video_id, "--latest", "--json").out)
    assert [row["run_id"] for row in latest] == [str(new.run_id)]
    shown = extents("runs", "show", old.run_id).out
    assert f"superseded by {new.run_id}" in shown


def test_a_run_is_fetched_only_as_its_row_says(extents, tenant: UUID, tmp_path: Path) -> None:
    """An object whose hash differs from its row is rejected, and no file is left."""
    run = completed(request(tenant), b"not what the row says")
    done = extents("runs", "get", run.run_id, "-o", "run.db")
    assert done.status == 1
    assert "its row says" in done.err
    assert not (tmp_path / "run.db").exists()


def test_the_only_run_of_a_video_is_kept_by_default(extents, tenant: UUID) -> None:
    """A video's only run is deleted only with --only; then row and object are gone, and the history says so."""
    run = completed(request(tenant), b"a run")
    refused = extents("runs", "rm", run.run_id, "--yes")
    assert refused.status == 1
    assert "add --only" in refused.err
    assert extents("runs", "rm", run.run_id, "--yes", "--only").status == 0
    assert "deleted" in extents("runs", "show", run.run_id).out
    assert extents("runs", "get", run.run_id).status == 1

    async def find(rows: Rows) -> object:
        return await rows.find_run(run.tenant_id, run.video_id, run.cropped_frames_version, run.model_version)

    assert with_rows(find) is None


def test_rejections_are_listed_until_somebody_has_seen_them(extents, tenant: UUID) -> None:
    """Rejections are listed in at most 100 columns; acknowledged ones only with ``--seen``."""
    message = "frame_count is 250000; the limit is 200000 (EXTENTS_MAX_FRAME_COUNT)"
    refused = request(tenant, frame_count=250_000)
    admitted(replace(refused, rejection=Rejection(RejectionType.FRAME_COUNT_EXCEEDED, message)))
    done = extents("rejections", "list", "--tenant", tenant)
    assert max(len(line.rstrip()) for line in done.out.splitlines()) <= 100
    assert_looks_like("rejections-list", done.out, {"a": refused.request_id, "b": refused.video_id}, ages=True)
    shown = extents("rejections", "show", refused.request_id).out
    assert "EXTENTS_MAX_FRAME_COUNT, which is 200000 here" in shown
    assert extents("rejections", "ack", "--tenant", tenant, "--yes").err == "1 acknowledged\n"
    assert json.loads(extents("rejections", "list", "--tenant", tenant, "--json").out) == []
    (row,) = json.loads(extents("rejections", "list", "--tenant", tenant, "--seen", "--json").out)
    assert row["acknowledged"] is True
    assert row["acknowledged_at"] is not None


def test_rejections_are_counted(extents, tenant: UUID) -> None:
    """The summary counts rejections by type, with the setting that would change them."""
    admitted(replace(request(tenant), rejection=Rejection(RejectionType.COST_EXCEEDED, "too dear")))
    rows = json.loads(extents("rejections", "summary", "--days", 1, "--json").out)
    assert {"cost_exceeded"} <= {row["rejection_type"] for row in rows}
    assert "EXTENTS_MAX_COST_USD" in extents("rejections", "summary").out


def test_all_rejections_are_not_acknowledged_by_mistake(extents) -> None:
    """Acknowledging without any filter is a usage error."""
    assert extents("rejections", "ack", "--yes").status == 2


@pytest.mark.parametrize(("typed", "meant"), [(["jbos"], "jobs"), (["jobs", "lsit"], "list"), (["dead-leters"], "dead-letters")])
def test_a_mistyped_command_is_answered_with_the_nearest(extents, typed: list[str], meant: str) -> None:
    """A mistyped command gives status 2 and the nearest command."""
    done = extents(*typed)
    assert done.status == 2
    assert f"Did you mean '{meant}'" in done.err


def test_ctrl_c_ends_quietly(extents, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends the command with status 130, without a stack trace."""

    def interrupted(action: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cli.shared.filters.with_listings", interrupted)
    done = extents("jobs", "list")
    assert (done.status, done.err.strip()) == (130, "")
