"""Builds the database of a finished run, in memory. The same run gives the same bytes on every machine."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

from core.captions import CaptionTrack, find_captions
from core.runs import FinishedRun
from core.types import LABELS
from storage.run_db_schema import DIRECTIONS, INDEX, TABLES
from storage.sqlite_files import to_bytes


def build_run_db(run: FinishedRun, track: CaptionTrack | None = None) -> bytes:
    """Build the bytes of the run's database. Takes about a second for 36,000 pairs, so call it in a thread.

    The provenance also receives the ids and the attempt, for which ``run_metadata`` has no columns.

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
        return to_bytes(connection)


def provenance(run: FinishedRun) -> dict[str, str]:
    """Return the contents of ``run_provenance``: the run's own provenance and its ids."""
    return {
        **run.provenance,
        "attempt": str(run.attempt),
        "request_id": str(run.request_id),
        "tenant_id": str(run.tenant_id),
        "video_id": str(run.video_id),
        "gpu_seconds": repr(run.gpu_seconds),
    }


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
    statement = f"INSERT INTO {table} VALUES ({', '.join('?' * len(first))})"  # noqa: S608 - only table names of this module
    connection.execute(statement, first)
    connection.executemany(statement, iterator)


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
