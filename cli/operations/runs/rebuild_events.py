"""The part of ``extents rebuild-registry`` that reads the outcome topics: requests, rejections, and the ends of jobs."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from cli.operations.runs.event_rows import EventRows, Row
from cli.shared.output import Report
from core.errors import ConfigurationError, PermanentError
from core.settings import Settings
from storage.connect import open_listings
from storage.listings import Filter, Listings
from streams.kafka.brokers import require_topics
from streams.kafka.outcome_log import OutcomeLog
from streams.topics import Topics

ROWS_A_CALL: Final = 500

NO_SUCH_VIDEO: Final = "23503"
"""PostgreSQL's code of a broken foreign key: in the web application's tables a row needs its video."""


@dataclass(slots=True)
class Missing:
    """Rows that the topics have and the database lacks.

    Attributes:
        requests, rejections, jobs: rows to insert; ``requests`` are in order.
        ended: jobs to mark as ended, each with the attempt in its row.
        described: jobs that were restored from a run's object, which lacks some of the fields of their events.
    """

    requests: list[Row] = field(default_factory=list)
    rejections: list[Row] = field(default_factory=list)
    jobs: list[Row] = field(default_factory=list)
    ended: list[tuple[Row, int]] = field(default_factory=list)
    described: list[Row] = field(default_factory=list)

    @property
    def count(self) -> int:
        return sum(self.counts().values())

    def counts(self) -> dict[str, int]:
        return {
            "requests": len(self.requests),
            "rejections": len(self.rejections),
            "jobs": len(self.jobs) + len(self.ended) + len(self.described),
        }


def no_events(settings: Settings, tenant_id: UUID | None) -> EventRows:
    """Return an ``EventRows`` without events, with prices from the settings."""
    admission = settings.admission
    return EventRows(admission.gpu_usd_per_hour / 3600 / admission.expected_pairs_per_second, tenant_id)


async def read_topics(tenant_id: UUID | None, report: Report) -> EventRows:
    """Read the events that the topics still hold, except those of purged videos."""
    settings = Settings()
    topics = Topics(settings.topics)
    await require_topics(settings.kafka, [topics.completed, topics.failed, topics.rejected])
    async with open_listings(settings.supabase) as listings:
        purged = [row async for row in listings.pages("purges", lambda query: query, ("id",))]
    rows = no_events(settings, tenant_id)
    async for logged in OutcomeLog(settings.kafka, topics).outcomes(report):
        if not _is_purged(purged, logged.event.tenant_id, logged.event.video_id):
            rows.add(logged.event, logged.at)
    return rows


def _is_purged(purged: list[dict[str, Any]], tenant_id: UUID | None, video_id: UUID | None) -> bool:
    return any(row["tenant_id"] == str(tenant_id) and row["video_id"] in (None, str(video_id)) for row in purged)


async def compare(rows: EventRows) -> Missing:
    """Return those of the rows that the database lacks."""
    chosen = Filter(tenant_id=rows.tenant_id)
    async with open_listings(Settings().supabase) as listings:
        requests = await _ids(listings.requests(chosen), "request_id")
        rejections = await _ids(listings.rejections(chosen), "id")
        jobs = {row["run_id"]: row async for row in listings.jobs(chosen) if row["run_id"] is not None}
    missing = Missing(
        requests=[row for row in rows.in_order() if row["request_id"] not in requests],
        rejections=[row for row in rows.rejections.values() if row["id"] not in rejections],
    )
    for run_id, row in rows.jobs.items():
        present = jobs.get(run_id)
        if present is None:
            missing.jobs.append(row)
        elif present["attempt"] < row["attempt"] or (present["attempt"] == row["attempt"] and present["status"] in ("queued", "running")):
            missing.ended.append((row, present["attempt"]))
        elif present["attempt"] == row["attempt"] and present["estimated_cost_usd"] is None and row["estimated_cost_usd"] is not None:
            missing.described.append(row)
    return missing


async def _ids(rows: AsyncIterator[dict[str, Any]], column: str) -> set[str]:
    return {row[column] async for row in rows}


@dataclass(slots=True)
class Written:
    """The result of writing the rows.

    Attributes:
        refused: rows that the database refused, each with the reason.
        unknown: keys of rows about videos that the database does not know; such a rejection never had a row.
    """

    rows: int = 0
    refused: list[str] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)


async def write_missing(missing: Missing, report: Report) -> Written:
    """Write what is missing. Requests come last: a request with a row is never decided again."""
    written = Written()
    async with open_listings(Settings().supabase) as listings:

        async def insert(table: str, key: str, rows: list[Row]) -> None:
            for begin in range(0, len(rows), ROWS_A_CALL):
                await _insert(listings, table, key, rows[begin : begin + ROWS_A_CALL], written)
                report(written.rows, missing.count)

        await insert("jobs", "run_id", missing.jobs)
        for row, attempt in missing.ended:
            await listings.update("jobs", row, {"run_id": row["run_id"], "attempt": attempt})
        for row in missing.described:
            values = {name: row[name] for name in ("replay_id", "priority", "estimated_cost_usd", "created_at")}
            await listings.update("jobs", values, {"run_id": row["run_id"], "estimated_cost_usd": None})
        written.rows += len(missing.ended) + len(missing.described)
        await insert("rejections", "id", missing.rejections)
        for row in missing.requests:
            if row["request_id"] in written.unknown:
                row["answer"]["recorded"] = False
        await insert("requests", "request_id", missing.requests)
    return written


async def _insert(listings: Listings, table: str, key: str, rows: list[Row], written: Written) -> None:
    """Insert rows in order. An existing row stays as it is."""
    try:
        await listings.insert(table, rows, ignore_conflicts_on=key)
        written.rows += len(rows)
    except ConfigurationError:
        raise
    except PermanentError as error:
        if len(rows) > 1:  # at least one is refused
            for row in rows:
                await _insert(listings, table, key, [row], written)
        elif NO_SUCH_VIDEO in str(error):
            written.unknown.add(rows[0][key])
        else:
            written.refused.append(f"{table} {rows[0][key]}: {error}")
