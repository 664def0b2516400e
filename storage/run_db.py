"""Builds and reads the database of a finished run, in memory. The same run gives the same bytes on every machine."""

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from core.captions import CaptionExtent, CaptionTrack, QualityIssue, extent_confidence, find_captions
from core.errors import CorruptInputError
from core.runs import FinishedRun
from core.types import LABELS
from storage.run_db_schema import DIRECTIONS, INDEX, RESULT_COLUMNS, TABLES
from storage.sqlite_files import open_database

MAX_RUN_DB_BYTES: Final = 512 * 1024 * 1024
"""Far above any run: 200,000 pairs take about 70 MB."""

_WRITER_VERSION: Final = (3_040_000).to_bytes(4, "big")
"""Written at byte 96, where SQLite stores its own version, so that the bytes do not depend on the machine. It has no effect."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunDatabase:
    """The contents of a run database.

    Attributes:
        probabilities: (pairs, 2, 5) float32, as written.
        pair_milliseconds: (pairs,) float64.
        provenance: empty for a database of the old service.
        track: captions and issues as stored; derived from ``probabilities`` for a database of the old service.
    """

    run_id: str
    cropped_frames_version: int
    model_version: str
    model_checkpoint_path: str
    started_at: datetime
    completed_at: datetime
    processing_time_seconds: float
    provenance: Mapping[str, str]
    probabilities: npt.NDArray[np.float32]
    pair_milliseconds: npt.NDArray[np.float64]
    track: CaptionTrack

    @property
    def attempt(self) -> int:
        return int(self.provenance.get("attempt", 1))

    @property
    def pairs(self) -> int:
        return int(self.probabilities.shape[0])


def build_run_db(run: FinishedRun, track: CaptionTrack | None = None) -> bytes:
    """Build the bytes of the run's database. Takes about a second for 36,000 pairs, so call it in a thread.

    The ids and the attempt, which ``run_metadata`` does not have, are added to the provenance.

    Args:
        track: the result of ``find_captions`` for the run's probabilities, if the caller has it already.
    """
    track = track or find_captions(run.probabilities)
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("PRAGMA temp_store = MEMORY")  # sorting the index of a long video must not need disk space
        connection.execute("PRAGMA page_size = 4096")
        connection.execute("BEGIN")
        for statement in TABLES.split(";\n")[:-1]:
            connection.execute(statement)
        _insert(
            connection,
            "run_metadata",
            [
                (
                    run.cropped_frames_version,
                    run.model_version,
                    run.model_checkpoint_path,
                    str(run.run_id),
                    _iso(run.started_at),
                    _iso(run.completed_at),
                    run.pairs,
                    run.processing_time_seconds,
                )
            ],
        )
        _insert(connection, "pair_results", _pair_rows(run))
        _insert(connection, "run_provenance", sorted(provenance(run).items()))
        _insert(
            connection,
            "caption_extents",
            (
                (number, c.first_frame, c.last_frame, c.start_seconds, c.end_seconds, c.start_confidence, c.end_confidence)
                for number, c in enumerate(track.captions, start=1)
            ),
        )
        _insert(connection, "quality_issues", ((number, i.kind, i.frame_index, i.detail) for number, i in enumerate(track.issues, start=1)))
        connection.execute(INDEX)
        connection.execute("COMMIT")
        data = connection.serialize()
    return data[:96] + _WRITER_VERSION + data[100:]


def provenance(run: FinishedRun) -> dict[str, str]:
    """The contents of ``run_provenance``: the run's own provenance and its ids."""
    return {
        **run.provenance,
        "attempt": str(run.attempt),
        "request_id": str(run.request_id),
        "tenant_id": str(run.tenant_id),
        "video_id": str(run.video_id),
        "gpu_seconds": repr(run.gpu_seconds),
    }


def read_run_db(data: bytes, name: str) -> RunDatabase:
    """Check a run database and read it.

    Raises:
        CorruptInputError: the file is damaged, incomplete or not a run database; the message gives ``name`` and what was expected.
    """
    with open_database(data, name) as connection:
        return _read(connection, name)


def _read(connection: sqlite3.Connection, name: str) -> RunDatabase:
    (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        raise CorruptInputError(f"{name} is damaged: {verdict}")
    metadata = connection.execute(
        "SELECT cropped_frames_version, model_version, model_checkpoint_path, run_id, started_at, completed_at, total_pairs, "
        "processing_time_seconds FROM run_metadata"
    ).fetchall()
    if len(metadata) != 1:
        raise CorruptInputError(f"{name}: run_metadata has {len(metadata)} rows; expected 1")
    version, model, path, run_id, started_at, completed_at, pairs, seconds = metadata[0]

    columns = ", ".join(column for column in RESULT_COLUMNS if "_prob_" in column)
    every = f"SELECT frame1_index, frame2_index, processing_time_ms, {columns} FROM pair_results ORDER BY frame1_index"  # noqa: S608 - constants alone
    results = np.array(connection.execute(every).fetchall(), dtype=np.float64).reshape(-1, 3 + len(DIRECTIONS) * len(LABELS))
    expected = np.arange(pairs)
    if len(results) != pairs or not (np.array_equal(results[:, 0], expected) and np.array_equal(results[:, 1], expected + 1)):
        raise CorruptInputError(f"{name}: {len(results)} rows in pair_results; expected {pairs}, one for each frame and the next")

    probabilities = results[:, 3:].reshape(-1, len(DIRECTIONS), len(LABELS)).astype(np.float32)
    derived = find_captions(probabilities)
    added = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'run_provenance'").fetchone() is not None
    return RunDatabase(
        run_id=run_id,
        cropped_frames_version=version,
        model_version=model,
        model_checkpoint_path=path,
        started_at=datetime.fromisoformat(started_at),
        completed_at=datetime.fromisoformat(completed_at),
        processing_time_seconds=seconds,
        provenance=dict(connection.execute("SELECT key, value FROM run_provenance ORDER BY key").fetchall()) if added else {},
        probabilities=probabilities,
        pair_milliseconds=results[:, 2],
        track=_stored_track(connection, derived) if added else derived,
    )


def _stored_track(connection: sqlite3.Connection, derived: CaptionTrack) -> CaptionTrack:
    captions = connection.execute("SELECT first_frame, last_frame, start_confidence, end_confidence FROM caption_extents ORDER BY id")
    stored = connection.execute("SELECT kind, frame_index, detail FROM quality_issues ORDER BY id")
    issues = tuple(QualityIssue(*row) for row in stored)
    return replace(
        derived,
        captions=tuple(
            CaptionExtent(first, last, start, end, extent_confidence(derived.probabilities, first, last))
            for first, last, start, end in captions
        ),
        doubts=derived.doubts if any(issue.kind == "doubtful" for issue in issues) else (),  # runs of before left none out
        issues=issues,
    )


def _pair_rows(run: FinishedRun) -> Iterable[tuple[Any, ...]]:
    columns: list[list[Any]] = []
    for direction in range(len(DIRECTIONS)):
        scores = run.probabilities[:, direction]  # (pairs, 5)
        columns.append([LABELS[label].value for label in scores.argmax(axis=1).tolist()])
        columns.append(scores.max(axis=1).tolist())
        columns.extend(scores[:, label].tolist() for label in range(len(LABELS)))
    numbers = range(run.pairs + 2)
    return zip(numbers[1:-1], numbers[:-2], numbers[1:-1], *columns, run.pair_milliseconds.tolist(), strict=True)


def _insert(connection: sqlite3.Connection, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
    iterator = iter(rows)
    first = next(iterator, None)
    if first is None:
        return
    statement = f"INSERT INTO {table} VALUES ({', '.join('?' * len(first))})"  # noqa: S608 - table names of this module alone
    connection.execute(statement, first)
    connection.executemany(statement, iterator)


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
