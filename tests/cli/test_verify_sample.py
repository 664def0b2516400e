"""``extents verify --sample`` predicts pairs again, over the real store and database."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest

from cli.film.engine import Engine, choose_model
from cli.film.local_video import LocalVideo
from cli.film.runs.local_run import run_locally
from core.runs import FinishedRun
from core.settings import KeySettings, Settings
from core.types import Precision
from storage.connect import object_keys
from storage.objects import ObjectStore
from storage.publish import publish_run
from storage.rows import Rows
from storage.run_db import build_run_db
from tests.cli.operating import move_in, with_both
from tests.service.videos import LAYOUT, VERSION, video
from tests.storage.admission_requests import limits, request
from tests.storage.finished_runs import finished_run

FRAMES = 40


@pytest.fixture(scope="module")
def predicted() -> FinishedRun:
    """Predict the video with the built-in model."""
    film = video(FRAMES)
    local = LocalVideo(LAYOUT, "unused", VERSION, FRAMES, film.chunks.__getitem__)
    settings = Settings()
    return run_locally(local, choose_model(settings), Engine(settings.worker, Precision.FLOAT32), lambda done, total: None)


def stored(tenant: UUID, predicted: FinishedRun, *, probabilities: Any = None, provenance: Mapping[str, str] | None = None) -> FinishedRun:
    """Make a run with its request, rows, database and frames."""
    submitted = request(tenant, uuid4(), frame_count=FRAMES)

    async def run(rows: Rows, store: ObjectStore) -> FinishedRun:
        await rows.admit(submitted, limits(rate_limit_seconds=0))
        ids = {name: getattr(submitted, name) for name in ("run_id", "request_id", "tenant_id", "video_id")}
        made = finished_run(
            FRAMES - 1,
            **ids,
            cropped_frames_version=VERSION,
            model_version=predicted.model_version,
            probabilities=predicted.probabilities if probabilities is None else probabilities,
            provenance={"precision": "float32", "checkpoint_sha256": predicted.provenance["checkpoint_sha256"], **(provenance or {})},
        )
        await video(FRAMES).upload(store, object_keys(KeySettings()), tenant, made.video_id)
        await rows.complete_run(made, await publish_run(store, object_keys(KeySettings()), made, build_run_db(made)))
        return made

    return with_both(run)


def forget_frames(run: FinishedRun) -> None:
    async def delete(rows: Rows, store: ObjectStore) -> None:
        for name in video(FRAMES).chunks:
            await store.delete(object_keys(KeySettings()).chunk(run.tenant_id, run.video_id, VERSION, name))

    with_both(delete)


@pytest.fixture(autouse=True)
def environment(namespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    move_in(namespace, monkeypatch, tmp_path)


def test_pairs_are_predicted_again(extents, predicted: FinishedRun) -> None:
    """A run that its model reproduces passes; a run that differs is named with the pair, and a run without frames is skipped."""
    tenant = uuid4()
    spoiled = predicted.probabilities.copy()
    spoiled[7] = np.roll(spoiled[7], 1, axis=1)
    good, wrong = stored(tenant, predicted), stored(tenant, predicted, probabilities=spoiled)
    other, gone = stored(tenant, predicted, provenance={"checkpoint_sha256": "ab" * 32}), stored(tenant, predicted)
    forget_frames(gone)
    done = extents("verify", good.run_id, "--sample", 5)
    assert done.status == 0, done.err
    assert "5 pairs predicted again" in done.err
    assert extents("verify", wrong.run_id, "--sample", FRAMES - 1).status == 1
    assert extents("verify", wrong.run_id).status == 0, "its object is what its row says"
    report = json.loads(extents("verify", "--tenant", tenant, "--sample", FRAMES, "--json").out)
    faults = {row["run_id"]: row["fault"] for row in report["faults"]}
    assert set(faults) == {str(wrong.run_id), str(other.run_id)}
    assert faults[str(wrong.run_id)].startswith(f"1 of {FRAMES - 1} pairs differ when predicted again: 7 by 0.")
    assert "the run used abababababab" in faults[str(other.run_id)]
    assert [row["run_id"] for row in report["skipped"]] == [str(gone.run_id)]
    assert report["sampled_pairs"] == 2 * (FRAMES - 1)
