"""``extents show`` prints a run database as text or as JSON."""

import contextlib
import json
import re
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest

from core.labels import DIFFERENT, EMPTY_EMPTY, EMPTY_VALID, SAME, VALID_EMPTY
from core.runs import FinishedRun
from core.types import LABELS
from storage.run_db import build_run_db


@pytest.fixture
def run_db(tmp_path: Path) -> Path:
    """Ten frames: empty, a caption in frames 2 to 4, another in 5 to 7, empty. The directions disagree about the pair (5, 6)."""
    labels = [EMPTY_EMPTY, EMPTY_VALID, SAME, SAME, DIFFERENT, SAME, SAME, VALID_EMPTY, EMPTY_EMPTY]
    turned = {EMPTY_VALID: VALID_EMPTY, VALID_EMPTY: EMPTY_VALID}
    probabilities = np.full((len(labels), 2, len(LABELS)), 0.025, np.float32)
    for pair, label in enumerate(labels):
        probabilities[pair, 0, label] = probabilities[pair, 1, turned.get(label, label)] = 0.9
    probabilities[5, 1] = [0.4, 0.5, 0.05, 0.025, 0.025]
    moment = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    run = FinishedRun(
        run_id=UUID(int=1),
        attempt=2,
        request_id=UUID(int=2),
        tenant_id=UUID(int=3),
        video_id=UUID(int=4),
        cropped_frames_version=3,
        model_version="model-1",
        model_checkpoint_path="models/model-1.pt",
        started_at=moment,
        completed_at=moment,
        processing_time_seconds=1.25,
        gpu_seconds=1.0,
        provenance={"precision": "float32"},
        probabilities=probabilities,
        pair_milliseconds=np.ones(len(labels)),
    )
    path = tmp_path / "run.db"
    path.write_bytes(build_run_db(run))
    return path


def test_a_person_sees_the_run_its_labels_captions_and_doubts(extents, run_db: Path) -> None:
    """The text shows the run, the count of each label, each caption's times and frames, and the number of issues by kind."""
    done = extents("show", run_db)
    assert (done.status, done.err) == (0, "")
    lines = [re.sub(r" +", " ", line).strip() for line in done.out.splitlines()]
    for expected in (
        f"run {UUID(int=1)}, attempt 2",
        f"video {UUID(int=4)}",
        "model model-1 (models/model-1.pt)",
        "computed 2026-03-04 05:06:07 UTC, 1.2 s for 9 pairs",
        "precision float32",
        "same 4 44.4%",
        "Captions (2)",
        "1 0:00:00.2 0:00:00.5 0.3 2-4 0.900",
        "2 0:00:00.5 0:00:00.8 0.3 5-7 0.900",
        "Quality issues (1 direction_conflict)",
    ):
        assert expected in lines


def test_a_narrow_terminal_shows_every_issue_whole(extents, run_db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On 60 columns the kind and the frame of an issue are not cut, and its detail is folded."""
    monkeypatch.setenv("COLUMNS", "60")
    lines = extents("show", run_db).out.partition("Quality issues")[2].splitlines()
    assert lines[2].split()[:2] == ["direction_conflict", "5"]
    assert len(lines) > 3
    assert max(map(len, lines)) <= 60
    (issue,) = json.loads(extents("show", run_db, "--json").out)["quality_issues"]
    place = lines[1].index("detail")
    assert " ".join(line[place:].strip() for line in lines[2:]) == issue["detail"]


def test_a_program_gets_all_of_it(extents, run_db: Path) -> None:
    """JSON holds metadata, provenance, label counts, captions with confidences, and every issue."""
    output = json.loads(extents("show", run_db, "--json").out)
    assert (output["run_id"], output["attempt"], output["pairs"]) == (str(UUID(int=1)), 2, 9)
    assert output["label_counts"] == {"same": 4, "different": 1, "empty_empty": 2, "empty_valid": 1, "valid_empty": 1}
    assert [(c["start_seconds"], c["end_seconds"]) for c in output["captions"]] == [(0.2, 0.5), (0.5, 0.8)]
    assert output["captions"][0]["start_confidence"] == pytest.approx(0.9)
    assert [(issue["kind"], issue["frame_index"]) for issue in output["quality_issues"]] == [("direction_conflict", 5)]
    assert output["provenance"]["precision"] == "float32"


@pytest.mark.parametrize("content", [b"", b"no database at all", b"SQLite format 3\x00" + bytes(100)], ids=["empty", "text", "damaged"])
def test_a_file_that_is_no_run_database_is_named(extents, tmp_path: Path, content: bytes) -> None:
    """The error for a file that is not a run database is one line that names it; the status is 1."""
    (tmp_path / "other.db").write_bytes(content)
    done = extents("show", tmp_path / "other.db")
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith(f"error: {tmp_path / 'other.db'}")
    assert done.err.count("\n") == 1


def test_a_missing_file_is_a_matter_of_usage(extents, tmp_path: Path) -> None:
    """A missing file is a usage error, with status 2."""
    assert extents("show", tmp_path / "none.db").status == 2


@pytest.mark.parametrize("written", ["2026-03-04T07:06:07+02:00", "2026-03-04T05:06:07"])
def test_times_are_in_utc(extents, run_db: Path, written: str) -> None:
    """Times are printed in UTC whatever their zone in the file, and a time without a zone is UTC."""
    with contextlib.closing(sqlite3.connect(run_db)) as connection:
        connection.execute("UPDATE run_metadata SET started_at = ?", (written,))
        connection.commit()
    assert "2026-03-04 05:06:07 UTC" in extents("show", run_db).out
    assert json.loads(extents("show", run_db, "--json").out)["started_at"] == "2026-03-04T05:06:07+00:00"
