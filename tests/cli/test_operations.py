"""What operators view and change, with real servers but without workers: status, why, models, quote, usage, cleanup, purge."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np
import pytest

from core.admission import Rejection
from core.runs import FinishedRun
from core.settings import KafkaSettings, KeySettings, SupabaseSettings, TopicSettings
from core.types import RejectionType
from inference.models.builtin import builtin_model_version
from storage.connect import object_keys, open_listings
from storage.objects import ObjectStore
from storage.rows import Rows
from streams.kafka.topic_admin import ensure_topics
from streams.topics import Topics
from tests.cli.operating import completed, move_in, with_both
from tests.cli.snapshots import assert_looks_like
from tests.service.videos import video
from tests.storage.admission_requests import limits, request


@pytest.fixture(autouse=True)
def environment(namespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An installation that belongs to the test, in a terminal of 100 columns."""
    move_in(namespace, monkeypatch, tmp_path)


@pytest.fixture
def topics() -> Topics:
    topics = Topics(TopicSettings())
    asyncio.run(ensure_topics(topics.specs(), KafkaSettings()))
    return topics


@pytest.fixture
def tenant() -> UUID:
    return uuid4()


def present(run: FinishedRun, extents) -> bool:
    return extents("runs", "get", run.run_id, "-o", "present.db").status == 0


def test_status_says_what_is_missing(extents, topics: Topics) -> None:
    """Without workers, status names the topic that nobody reads and the command to start one, and ends with status 1."""
    done = extents("status")
    assert done.status == 1
    assert f"NONE: nobody reads {topics.encoded}" in done.out
    assert max(len(line) for line in done.out.splitlines()) <= 100
    status = json.loads(extents("status", "--json").out)
    assert status["groups"]["coordinator"]["lag"] == {topics.encoded: 0, topics.encoded_low: 0, topics.results: 0}
    assert status["model"]["version"] == builtin_model_version()


def test_why_tells_the_story_of_a_video(extents, topics: Topics, tenant: UUID) -> None:
    """Request, job, run and object are listed in order of time with a closing sentence; an unknown video gives status 1."""
    run = completed(tenant)
    done = extents("why", run.video_id)
    assert done.status == 0, done.err
    assert_looks_like("why", done.out, {"a": run.run_id, "b": run.video_id, "c": tenant, "d": run.request_id})
    message = "frame_count is 250000; the limit is 200000 (EXTENTS_MAX_FRAME_COUNT)"
    submitted = replace(request(tenant, frame_count=250_000), rejection=Rejection(RejectionType.FRAME_COUNT_EXCEEDED, message))

    async def reject(rows: Rows, _: ObjectStore) -> None:
        await rows.admit(submitted, limits())

    with_both(reject)
    refused = extents("why", submitted.video_id).out
    assert refused.endswith(f"The last request was rejected: {message}.\n")
    assert_looks_like("why-rejected", refused, {"a": submitted.request_id, "b": submitted.video_id, "c": tenant})
    stranger = extents("why", uuid4())
    assert stranger.status == 1
    assert "never seen" in stranger.out


def test_models_are_promoted_and_rolled_back(extents) -> None:
    """The history lists promotions, and a rollback restores the previous state."""
    unknown = extents("models", "promote", "nobody-has-it", "--yes")
    assert unknown.status == 1
    before = len(json.loads(extents("models", "history", "--json").out))
    try:
        done = extents("models", "promote", builtin_model_version(), "--note", "tried", "--yes")
        assert done.status == 0, done.err
        listed = json.loads(extents("models", "history", "--json").out)
        assert len(listed) == before + 1
        assert (listed[0]["percent"], listed[0]["note"], listed[0]["withdrawn_at"]) == (100, "tried", None)
        assert "(promotion " in extents("models", "history").err
    finally:
        assert extents("models", "rollback", "--yes").status == 0
    assert "(built in)" in extents("models", "history").err


def test_a_quote_is_what_admission_estimates(extents, tenant: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quote by frames or by a known video gives admission's estimate, and says if the request would be rejected."""
    assert_looks_like("quote", extents("quote", "36000").out)
    dear = extents("quote", "400000", "--json").out
    monkeypatch.setenv("EXTENTS_MAX_FRAME_COUNT", "500000")
    assert "would be rejected: estimated cost is $1.22" in extents("quote", "400000").out
    monkeypatch.delenv("EXTENTS_MAX_FRAME_COUNT")
    assert json.loads(dear)["rejection"]["type"] == "frame_count_exceeded"
    assert "would be rejected: frame_count is 250000" in extents("quote", "250000").out
    run = completed(tenant)
    assert json.loads(extents("quote", run.video_id, "--json").out)["frames"] == 61
    assert extents("quote", "nothing").status == 2


def test_usage_adds_up(extents, tenant: UUID) -> None:
    """GPU hours and cost are summed by the month in which runs were completed."""
    completed(tenant)
    rows = json.loads(extents("usage", "--month", "2026-01", "--by", "tenant", "--json").out)["rows"]
    (mine,) = [row for row in rows if row["name"] == str(tenant)]
    assert (mine["runs"], mine["pairs"], mine["gpu_seconds"]) == (1, 60, 12.5)
    assert mine["cost_usd"] == pytest.approx(12.5 / 3600 * 1.10)
    assert "GPU hours" in extents("usage", "--month", "2026-01").out


def test_superseded_runs_are_cleaned_up(extents, tenant: UUID) -> None:
    """The objects of superseded runs are deleted and the latest run stays; a second cleanup finds nothing."""
    old = completed(tenant)
    new = completed(tenant, old.video_id, force=True, seed=1)
    planned = json.loads(extents("cleanup", "--superseded", "--tenant", tenant, "--yes", "--json").out)
    assert [row["run_id"] for row in planned["runs"]] == [str(old.run_id)]
    assert (present(old, extents), present(new, extents)) == (False, True)
    assert extents("cleanup", "--superseded", "--tenant", tenant, "--yes").err.startswith("0 runs")


def test_the_only_run_of_a_video_is_not_cleaned_up(extents, tenant: UUID) -> None:
    """A video's only run is kept whatever its age, unless --only is given."""
    run = completed(tenant)
    assert extents("cleanup", "--older-than", "1", "--tenant", tenant, "--yes").err.startswith("0 runs")
    assert present(run, extents)
    assert extents("cleanup", "--older-than", "1", "--tenant", tenant, "--only", "--yes").status == 0
    assert not present(run, extents)


def test_runs_are_compared(extents, tenant: UUID) -> None:
    """Runs are compared by id or as files, with status 1 above --max-change, and models over many videos."""
    first = completed(tenant)
    other = completed(tenant, first.video_id, model_version="other", seed=5)
    same = json.loads(extents("compare", first.run_id, first.run_id, "--json").out)
    assert (same["change"], same["label_changes"]) == (0.0, [])
    done = extents("compare", str(first.run_id)[:8], other.run_id, "--max-change", "0.1")
    assert done.status == 1
    assert "more than 10.0%" in done.err
    assert_looks_like("compare", done.out, {"a": first.run_id, "b": other.run_id})
    assert max(len(line.rstrip()) for line in done.out.splitlines()) <= 100
    many = json.loads(extents("compare", "--model", first.model_version, "--model", "other", "--tenant", tenant, "--json").out)
    assert [row["video_id"] for row in many["videos"]] == [str(first.video_id)]
    for run in (first, other):
        assert extents("runs", "get", run.run_id, "-o", f"{run.model_version}.db").status == 0
    files = json.loads(extents("compare", f"{first.model_version}.db", "other.db", "--json").out)
    assert files["change"] == many["change"] > 0
    assert not np.array_equal(first.probabilities, other.probabilities)


def test_what_is_purged_is_gone_and_refused(extents, topics: Topics, tenant: UUID) -> None:
    """Objects and rows of one video are deleted, another video's are kept, and the purge mark stays until it is undone."""
    gone, stays = completed(tenant), completed(tenant)
    done = extents("purge", "--tenant", tenant, "--video", gone.video_id, "--reason", "asked for", "--yes")
    assert done.status == 0, done.err
    assert (extents("why", gone.video_id).status, present(stays, extents)) == (1, True)

    async def mark() -> object:
        async with open_listings(SupabaseSettings()) as listings:
            return await listings.purge_of(tenant, gone.video_id), await listings.purge_of(tenant, stays.video_id)

    purged, none = asyncio.run(mark())  # type: ignore[misc]
    assert (purged["reason"], none) == ("asked for", None)
    undone = extents("purge", "--tenant", tenant, "--video", gone.video_id, "--undo", "--json")
    assert json.loads(undone.out) == {"tenant_id": str(tenant), "video_id": str(gone.video_id), "undone": True}
    assert asyncio.run(mark()) == (None, None)


def test_runs_are_verified(extents, tenant: UUID) -> None:
    """A run that matches its row passes; one whose object was changed or lost is named, with status 1."""
    good, changed, lost = completed(tenant), completed(tenant), completed(tenant)

    async def spoil(rows: Rows, store: ObjectStore) -> None:
        keys = object_keys(KeySettings())
        for run, data in ((changed, b"something else"), (lost, None)):
            key = keys.run_db(run.tenant_id, run.video_id, run.cropped_frames_version, run.model_version, run.run_id)
            await (store.put(key, data) if data else store.delete(key))

    with_both(spoil)
    assert extents("verify", good.run_id).status == 0
    done = extents("verify", "--tenant", tenant, "--json")
    assert done.status == 1
    report = json.loads(done.out)
    assert report["runs"] == 3
    faults = {row["run_id"]: row["fault"] for row in report["faults"]}
    assert "the row says" in faults[str(changed.run_id)]
    assert "not in the store" in faults[str(lost.run_id)]
    assert extents("verify").status == 2


def test_the_registry_is_rebuilt_from_the_store(extents, topics: Topics, tenant: UUID) -> None:
    """After the rows are lost, each run and what superseded it are restored; a second rebuild changes nothing."""
    old = completed(tenant)
    new = completed(tenant, old.video_id, force=True, seed=1, completed_at=old.completed_at + timedelta(hours=1))
    before = json.loads(extents("runs", "list", "--tenant", tenant, "--json").out)

    async def lose() -> None:
        async with open_listings(SupabaseSettings()) as listings:
            for table in ("runs", "run_history", "jobs", "requests"):
                await listings.delete(table, {"tenant_id": str(tenant)})

    asyncio.run(lose())
    looked = json.loads(extents("rebuild-registry", "--tenant", tenant, "--dry-run", "--json").out)
    assert [row["run_id"] for row in looked["differing"]] == [str(old.run_id), str(new.run_id)]
    assert extents("rebuild-registry", "--tenant", tenant, "--yes").status == 0
    after = json.loads(extents("runs", "list", "--tenant", tenant, "--json").out)
    kept = ("run_id", "wasabi_storage_key", "sha256", "total_pairs", "gpu_seconds", "precision", "completed_at", "superseded_by")
    assert [{name: row[name] for name in kept} for row in after] == [{name: row[name] for name in kept} for row in before]
    assert extents("rebuild-registry", "--tenant", tenant, "--yes").err.startswith("0 runs are missing from the registry")


def test_a_comparison_is_a_page_of_its_own(extents, tenant: UUID, tmp_path: Path) -> None:
    """The page holds each changed caption with the strips at its boundaries, in one file."""
    first = completed(tenant)
    other = completed(tenant, first.video_id, model_version="other", seed=5)

    async def upload(rows: Rows, store: ObjectStore) -> None:
        await video(61).upload(store, object_keys(KeySettings()), tenant, first.video_id)

    with_both(upload)
    done = extents("compare", first.run_id, other.run_id, "--html", "changes.html")
    assert done.status == 0, done.err
    text = (tmp_path / "changes.html").read_text()
    places = json.loads(extents("compare", first.run_id, other.run_id, "--json").out)["places"]
    assert text.count("<tr data-place=") == len(places) > 0
    assert "data:image/png;base64,iVBOR" in text
    assert "://" not in text
