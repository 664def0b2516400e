"""The run database: its documented tables, its exact bytes, and what a reader rejects."""

import hashlib
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import timedelta, timezone

import numpy as np
import pytest

from core.captions import find_captions
from core.errors import CorruptInputError
from core.types import LABELS
from storage.run_db import build_run_db
from storage.run_db_reader import read_run_db
from tests.storage.finished_runs import finished_run, fixed_run


def opened(data: bytes):
    connection = sqlite3.connect(":memory:")
    connection.deserialize(data)
    return closing(connection)


def changed(data: bytes, *statements: str) -> bytes:
    with opened(data) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        return connection.serialize()


def test_readers_of_the_old_service_still_work():
    """The former service's statements read the run's metadata and pairs, with the documented columns in order."""
    run = fixed_run(pairs=3)
    with opened(build_run_db(run)) as connection:
        metadata = connection.execute("SELECT * FROM run_metadata")
        assert [column[0] for column in metadata.description] == [
            "cropped_frames_version",
            "model_version",
            "model_checkpoint_path",
            "run_id",
            "started_at",
            "completed_at",
            "total_pairs",
            "processing_time_seconds",
        ]
        assert metadata.fetchall() == [
            (
                3,
                "builtin-0123abcd",
                "models/caption_frame_extents/builtin-0123abcd/model.safetensors",
                str(run.run_id),
                "2026-01-02T03:04:05.000678+00:00",
                "2026-01-02T03:05:06.250678+00:00",
                3,
                61.25,
            )
        ]
        pairs = connection.execute("SELECT * FROM pair_results ORDER BY id")
        scores = [f"prob_{label}" for label in ("same", "different", "empty_empty", "empty_valid", "valid_empty")]
        assert [column[0] for column in pairs.description] == [
            "id",
            "frame1_index",
            "frame2_index",
            *(f"{direction}_{value}" for direction in ("forward", "backward") for value in ("predicted_label", "confidence", *scores)),
            "processing_time_ms",
        ]
        for pair, row in enumerate(pairs.fetchall()):
            assert row[:3] == (pair + 1, pair, pair + 1)
            for direction in range(2):
                label, confidence, *scores_stored = row[3 + 7 * direction : 10 + 7 * direction]
                expected = run.probabilities[pair, direction]
                assert np.array_equal(np.float32(scores_stored), expected)
                assert (label, confidence) == (LABELS[expected.argmax()], expected.max())
            assert row[17] == run.pair_milliseconds[pair]
        indices = {row[1] for row in connection.execute("PRAGMA index_list(pair_results)")}
        assert "idx_pair_frames" in indices
        assert [row[2] for row in connection.execute("PRAGMA index_info(idx_pair_frames)")] == ["frame1_index", "frame2_index"]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE pair_results SET forward_predicted_label = 'other'",
        "UPDATE pair_results SET backward_prob_same = 1.01",
        "UPDATE pair_results SET forward_confidence = -0.01",
        "UPDATE pair_results SET frame1_index = 0, frame2_index = 1",
        "INSERT INTO quality_issues VALUES (999, 'other', 0, '')",
    ],
)
def test_the_tables_refuse_impossible_values(statement):
    """The file itself checks labels, probabilities and that a pair is unique."""
    with opened(build_run_db(fixed_run(pairs=3))) as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute(statement)


def test_captions_and_issues_are_stored_with_their_times():
    """The added tables hold the result of ``find_captions``, in seconds and in frames."""
    run = fixed_run(pairs=300)
    track = find_captions(run.probabilities)
    with opened(build_run_db(run)) as connection:
        assert connection.execute("SELECT * FROM caption_extents ORDER BY id").fetchall() == [
            (number, c.first_frame, c.last_frame, c.first_frame / 10, (c.last_frame + 1) / 10, c.start_confidence, c.end_confidence)
            for number, c in enumerate(track.captions, start=1)
        ]
        assert connection.execute("SELECT kind, frame_index, detail FROM quality_issues ORDER BY id").fetchall() == [
            (issue.kind, issue.frame_index, issue.detail) for issue in track.issues
        ]
    assert track.captions
    assert track.issues


def test_a_built_database_reads_back():
    """Every value of the run is read back unchanged, with the same bits of all probabilities."""
    run = finished_run(pairs=600)
    database = read_run_db(build_run_db(run), "run.db")
    assert (database.run_id, database.attempt, database.pairs) == (str(run.run_id), 1, 600)
    assert (database.started_at, database.completed_at, database.processing_time_seconds) == (run.started_at, run.completed_at, 61.25)
    assert database.provenance == {
        **run.provenance,
        "attempt": "1",
        "request_id": str(run.request_id),
        "tenant_id": str(run.tenant_id),
        "video_id": str(run.video_id),
        "gpu_seconds": "12.5",
    }
    assert np.array_equal(database.probabilities, run.probabilities)
    assert np.array_equal(database.pair_milliseconds, run.pair_milliseconds)
    track = find_captions(run.probabilities)
    assert (database.track.captions, database.track.issues, database.track.label_counts) == (
        track.captions,
        track.issues,
        track.label_counts,
    )


def test_the_same_run_gives_the_same_bytes_in_any_process():
    """A process with another hash seed and time zone builds the same bytes."""
    program = (
        "import hashlib; from storage.run_db import build_run_db; from tests.storage.finished_runs import fixed_run; "
        "print(hashlib.sha256(build_run_db(fixed_run(pairs=2000))).hexdigest())"
    )
    hashes = {
        subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, text=True, env={"PYTHONHASHSEED": seed, "TZ": zone}
        ).stdout.strip()
        for seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo"))
    }
    assert hashes == {hashlib.sha256(build_run_db(fixed_run(pairs=2000))).hexdigest()}


def test_bytes_do_not_depend_on_how_equal_values_are_written():
    """The order of the provenance and a time's zone do not change the bytes."""
    run = fixed_run()
    tokyo = timezone(timedelta(hours=9))
    same = fixed_run(
        provenance=dict(reversed(run.provenance.items())),
        started_at=run.started_at.astimezone(tokyo),
        completed_at=run.completed_at.astimezone(tokyo),
    )
    assert build_run_db(run) == build_run_db(same)


def test_bytes_do_not_name_the_sqlite_that_wrote_them():
    """The header holds a constant instead of SQLite's version, so that the bytes are the same on every machine."""
    assert build_run_db(fixed_run())[96:100] == (3_040_000).to_bytes(4, "big")


def test_a_database_of_the_old_service_is_read():
    """Without the added tables, captions are derived from the pairs, and the attempt is 1."""
    run = fixed_run(pairs=50)
    old = changed(build_run_db(run), "DROP TABLE run_provenance", "DROP TABLE caption_extents", "DROP TABLE quality_issues")
    database = read_run_db(old, "run.db")
    assert (database.attempt, database.provenance) == (1, {})
    assert database.track.captions == find_captions(run.probabilities).captions


OLD = ("DROP TABLE run_provenance", "DROP TABLE caption_extents", "DROP TABLE quality_issues")
LOOSE = """
CREATE TABLE loose AS SELECT * FROM run_metadata; DROP TABLE run_metadata; ALTER TABLE loose RENAME TO run_metadata;
UPDATE run_metadata SET model_checkpoint_path = NULL, processing_time_seconds = NULL, cropped_frames_version = NULL;
UPDATE pair_results SET processing_time_ms = NULL; UPDATE run_metadata SET started_at = '2024-01-02T03:04:05'
"""


def test_a_database_of_the_old_service_may_lack_pairs_and_values():
    """Missing pairs of an old database are listed and have neither label nor issue, and NULLs are accepted."""
    run = fixed_run(pairs=50)
    old = changed(build_run_db(run), *OLD, *LOOSE.split(";"), "DELETE FROM pair_results WHERE frame1_index IN (0, 7, 8, 49)")
    read = read_run_db(old, "run.db")
    assert (read.pairs, read.missing_pairs) == (50, (0, 7, 8, 49))
    assert (read.model_checkpoint_path, read.processing_time_seconds, read.cropped_frames_version, read.gpu_seconds) == (None,) * 4
    assert read.started_at.isoformat() == "2024-01-02T03:04:05+00:00"
    there = [pair for pair in range(50) if pair not in read.missing_pairs]
    assert np.array_equal(read.probabilities[there], run.probabilities[there])
    assert np.isnan(read.pair_milliseconds).all()
    assert sum(read.label_counts.values()) == 46
    assert not {issue.frame_index for issue in read.track.issues if issue.kind in ("direction_conflict", "incoherent")} & set(
        read.missing_pairs
    )


HOSTILE = {
    "no pairs at all": ("DELETE FROM pair_results", "UPDATE run_metadata SET total_pairs = 0"),
    "no rows": ("DELETE FROM pair_results",),
    "more pairs than any film": ("UPDATE run_metadata SET total_pairs = 10000000000000",),
    "fewer pairs than none": ("UPDATE run_metadata SET total_pairs = -1",),
    "a count that is a text": ("UPDATE run_metadata SET total_pairs = 'many'",),
    "a run of bytes": ("UPDATE run_metadata SET run_id = x'00'",),
    "a long text": ("UPDATE run_metadata SET model_version = hex(zeroblob(100000))",),
    "a huge text": ("UPDATE run_metadata SET model_version = hex(zeroblob(20000000))",),
    "a blob for an index": ("UPDATE pair_results SET frame1_index = zeroblob(20000000) WHERE frame1_index = 3",),
    "an endless time": ("UPDATE run_metadata SET processing_time_seconds = 9e999",),
    "a pair twice": ("UPDATE pair_results SET frame1_index = -1, frame2_index = 0 WHERE frame1_index = 3",),
    "a view": ("ALTER TABLE pair_results RENAME TO p", "CREATE VIEW pair_results AS SELECT * FROM p"),
    "a view that never ends": (
        "DROP TABLE run_metadata",
        "CREATE VIEW run_metadata AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x AS run_id FROM n",
    ),
    "a check that is huge": ("CREATE TABLE t (x CHECK (length(zeroblob(999000000)) > 0))", "INSERT INTO t VALUES (1)"),
}
HOSTILE_OURS = {
    "an attempt that is none": ("UPDATE run_provenance SET value = 'x' WHERE key = 'attempt'",),
    "GPU seconds that are none": ("UPDATE run_provenance SET value = 'nan' WHERE key = 'gpu_seconds'",),
    "an issue of megabytes": ("INSERT INTO quality_issues VALUES (9999, 'incoherent', 1, hex(zeroblob(400000)))",),
}


@pytest.mark.parametrize(
    "statements", [*((*OLD, *statements) for statements in HOSTILE.values()), *HOSTILE_OURS.values()], ids=[*HOSTILE, *HOSTILE_OURS]
)
def test_a_crafted_file_is_corrupt_input(statements):
    """A crafted file is rejected by name, within seconds, and with a short message."""
    data = changed(build_run_db(fixed_run(pairs=50)), "PRAGMA ignore_check_constraints = ON", *statements)
    began = time.monotonic()
    with pytest.raises(CorruptInputError, match=r"^run\.db") as raised:
        read_run_db(data, "run.db")
    assert len(str(raised.value)) < 500
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"no database" * 1000,
        lambda data: data[: len(data) // 2],
        lambda data: data[:8192] + bytes(4096) + data[12288:],
        lambda data: changed(data, "DELETE FROM pair_results WHERE frame1_index = 20"),
        lambda data: changed(data, "UPDATE pair_results SET frame2_index = 99 WHERE frame1_index = 20"),
        lambda data: changed(data, "UPDATE run_metadata SET total_pairs = total_pairs + 1"),
        lambda data: changed(data, "DELETE FROM run_metadata"),
        lambda data: changed(data, "UPDATE run_metadata SET started_at = 'yesterday'"),
        lambda data: changed(data, "DROP TABLE pair_results"),
        lambda data: changed(data, "DROP INDEX idx_pair_frames", "DROP TABLE caption_extents"),
    ],
)
def test_a_damaged_or_incomplete_file_is_refused(damage):
    """A file that is truncated, overwritten or lacks a row is rejected."""
    with pytest.raises(CorruptInputError, match=r"^run\.db"):
        read_run_db(damage(build_run_db(fixed_run(pairs=200))), "run.db")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"probabilities": np.zeros((3, 2, 4), np.float32)}, "expected float32"),
        ({"probabilities": np.zeros((3, 2, 5), np.float64)}, "expected float32"),
        ({"probabilities": np.zeros((0, 2, 5), np.float32)}, "at least one pair"),
        ({"probabilities": np.full((7, 2, 5), np.nan, np.float32)}, "not finite"),
        ({"probabilities": np.full((7, 2, 5), 1.5, np.float32)}, "within 0..1"),
        ({"pair_milliseconds": np.zeros(6)}, "pair_milliseconds"),
        ({"started_at": fixed_run().started_at.replace(tzinfo=None)}, "time zone"),
    ],
)
def test_an_impossible_run_is_refused_before_it_is_written(changes, complaint):
    """Inconsistent shapes, impossible probabilities and times without a zone are rejected before anything is written."""
    with pytest.raises(ValueError, match=complaint):
        fixed_run(**changes)
