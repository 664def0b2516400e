"""Lists jobs, runs, rejections and replays, and their figures, for commands and pages. Only reads."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from postgrest import AsyncSelectRequestBuilder

from core.identity import parse_uuid
from core.model_choice import Promotion
from core.moments import parse_moment
from storage.database import Database

Row = dict[str, Any]
"""A row in the form that the database's API returns: column names, with ids and times as text."""

SHORTEST_NAME: Final = 8
"""The fewest leading characters of a run id that may identify a run; they must be unique."""

PROMOTIONS_READ: Final = 20
"""How many of the newest promotions are read: enough to include the one that was withdrawn last."""

NEWEST_FIRST: Final = ("created_at", "id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Selects rows; a field that is None does not restrict them. ``since`` and ``until`` apply to the time a row was created."""

    tenant_id: UUID | None = None
    video_id: UUID | None = None
    model_version: str | None = None
    status: str | None = None
    priority: str | None = None
    replay_id: str | None = None
    rejection_type: str | None = None
    acknowledged: bool | None = None
    since: datetime | None = None
    until: datetime | None = None
    superseded: bool | None = None

    def narrow(self, query: AsyncSelectRequestBuilder) -> AsyncSelectRequestBuilder:
        for column in ("tenant_id", "video_id", "model_version", "status", "priority", "replay_id", "rejection_type"):
            value = getattr(self, column)
            if value is not None:
                query = query.eq(column, str(value))
        if self.acknowledged is True:
            query = query.is_("acknowledged", "true")
        elif self.acknowledged is False:
            query = query.not_.is_("acknowledged", "true")  # if the web application created the table, it may be null
        if self.superseded is True:
            query = query.not_.is_("superseded_by", "null").is_("deleted_at", "null")
        elif self.superseded is False:
            query = query.is_("superseded_by", "null").is_("deleted_at", "null")
        if self.since is not None:
            query = query.gte("created_at", self.since.isoformat())
        if self.until is not None:
            query = query.lt("created_at", self.until.isoformat())
        return query


class Listings(Database):
    """Each list begins with the newest row, and reads its pages while it is iterated."""

    def jobs(self, chosen: Filter, limit: int | None = None) -> AsyncIterator[Row]:
        """List jobs, including those of the former service (whose ``run_id`` is null)."""
        return self.pages("jobs", chosen.narrow, NEWEST_FIRST, limit)

    def runs(self, chosen: Filter, limit: int | None = None) -> AsyncIterator[Row]:
        """List the latest run of each video, version and model, as the web application reads them."""
        return self.pages("runs", chosen.narrow, NEWEST_FIRST, limit)

    def run_history(self, chosen: Filter, limit: int | None = None) -> AsyncIterator[Row]:
        """List every finished run, including superseded and deleted ones."""
        return self.pages("run_history", chosen.narrow, ("created_at", "run_id"), limit)

    def rejections(self, chosen: Filter, limit: int | None = None) -> AsyncIterator[Row]:
        return self.pages("rejections", chosen.narrow, NEWEST_FIRST, limit)

    def requests(self, chosen: Filter, limit: int | None = None) -> AsyncIterator[Row]:
        """List the requests (records of ``video.encoded``), each with its decision."""
        return self.pages("requests", chosen.narrow, ("created_at", "request_id"), limit)

    def replays(self, limit: int | None = None) -> AsyncIterator[Row]:
        return self.pages("replays", lambda query: query, ("created_at", "replay_id"), limit)

    async def job(self, name: str) -> Row | None:
        """Find a job by its run id, by at least its first 8 characters, or by the row's own id."""
        return await self._by("jobs", ("run_id", "id"), name) or await self._beginning("jobs", name)

    async def run(self, name: str) -> Row | None:
        """Find any finished run by its id, or by at least its first 8 characters."""
        return await self._by("run_history", ("run_id",), name) or await self._beginning("run_history", name)

    async def rejection(self, name: str) -> Row | None:
        return await self._by("rejections", ("id",), name)

    async def present_runs(self, videos: list[UUID]) -> list[Row]:
        """Return the rows of all runs of these videos, of every version and model."""
        rows: list[Row] = []
        for begin in range(0, len(videos), 100):
            names = [str(video) for video in videos[begin : begin + 100]]
            rows += [row async for row in self.pages("runs", lambda query: query.in_("video_id", names), NEWEST_FIRST)]  # noqa: B023
        return rows

    async def rejection_summary(self, days: int) -> list[Row]:
        """Count by day and type, newest day first: day, rejection_type, total, unacknowledged, videos."""
        since = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days - 1)
        rows: list[Row] = await self.call("rejection_summary", {"since": since.isoformat()})
        return rows

    async def overview(self, since: datetime, today: datetime) -> Row:
        """Return a status page's figures: unfinished jobs, outcomes since a time, rejections, replays, today's GPU seconds."""
        row: Row = await self.call("service_overview", {"since": since.isoformat(), "today": today.isoformat()})
        return row

    async def live_page(self, since: datetime, today: datetime, shown: int) -> Row:
        """``overview``, and at most ``shown`` rows each of ``in_progress``, ``recent`` and ``rejections``."""
        row: Row = await self.call("live_page", {"since": since.isoformat(), "today": today.isoformat(), "shown": shown})
        return row

    async def live_replays(self, since: datetime) -> list[Row]:
        """Replays that have not ended, and those that ended since a moment, each with its ``progress``."""
        rows: list[Row] = await self.call("live_replays", {"since": since.isoformat()})
        return rows

    async def activity(self, first: datetime, last: datetime, steps: int) -> list[Row]:
        """Return the throughput and the backlog in equal steps: at, pairs_per_second, high_pairs, low_pairs, high_runs, low_runs."""
        rows: list[Row] = await self.call("activity_between", {"first": first.isoformat(), "last": last.isoformat(), "steps": steps})
        return rows

    async def usage(self, first: datetime, last: datetime, by: str) -> list[Row]:
        """Sum by ``tenant``, ``model`` or ``day``: name, runs, failed, pairs, gpu_seconds, wall_seconds."""
        rows: list[Row] = await self.call("usage_between", {"first": first.isoformat(), "last": last.isoformat(), "by": by})
        return rows

    async def worker_hours(self, first: datetime, last: datetime) -> list[Row]:
        """How long GPU workers were up, by day and device: day, device, workers, up_seconds."""
        rows: list[Row] = await self.call("worker_hours_between", {"first": first.isoformat(), "last": last.isoformat()})
        return rows

    async def replay(self, replay_id: str) -> Row | None:
        return await self._by("replays", ("replay_id",), replay_id)

    async def replay_progress(self, replay_id: str) -> Row:
        row: Row = await self.call("replay_progress", {"replay": replay_id})
        return row

    async def replay_outcomes(self, replay_id: str, first: int = 0, rows: int = 500) -> list[Row]:
        """Return a page of a replay's items in their order, each with its outcome."""
        outcomes: list[Row] = await self.call("replay_outcomes", {"replay": replay_id, "first_number": first, "max_rows": rows})
        return outcomes

    async def promotions(self) -> list[Promotion]:
        """Return the promotions that were not withdrawn, newest first."""
        rows = [row async for row in self.pages("model_promotions", lambda query: query.is_("withdrawn_at", "null"), ("id",))]
        return [
            Promotion(row["id"], row["model_version"], row["percent"], UUID(row["tenant_id"]) if row["tenant_id"] else None) for row in rows
        ]

    async def last_promotion(self) -> tuple[datetime, str | None] | None:
        """When a promotion was last made or withdrawn, and the model of the newest one in force; None if there never was one."""
        rows = await self.page("model_promotions", lambda query: query, ("id",), 0, PROMOTIONS_READ)
        if not rows:
            return None
        at = max(parse_moment(moment) for row in rows for moment in (row["created_at"], row["withdrawn_at"]) if moment)
        return at, next((row["model_version"] for row in rows if not row["withdrawn_at"]), None)

    async def purge_of(self, tenant_id: UUID, video_id: UUID) -> Row | None:
        """Return the record of the purge of this video or of its whole tenant; None if neither was purged."""

        def narrow(query: AsyncSelectRequestBuilder) -> AsyncSelectRequestBuilder:
            return query.eq("tenant_id", str(tenant_id)).or_(f"video_id.is.null,video_id.eq.{video_id}")

        rows = await self.page("purges", narrow, ("id",), 0, 1)
        return rows[0] if rows else None

    async def _by(self, table: str, columns: tuple[str, ...], name: str) -> Row | None:
        for column in columns:
            if column == "id" and not _is_uuid(name):
                continue
            rows = await self.page(table, lambda query: query.eq(column, name), (column,), 0, 1)  # noqa: B023
            if rows:
                return rows[0]
        return None

    async def _beginning(self, table: str, name: str) -> Row | None:
        """Return the only row whose run id begins with ``name``; None if there are several."""
        beginning = _plain(name)
        if len(beginning) < SHORTEST_NAME:
            return None
        rows = await self.page(table, lambda query: query.like("run_id", f"{beginning}%"), ("run_id",), 0, 2)
        return rows[0] if len(rows) == 1 else None


def run_state(row: Mapping[str, Any]) -> str:
    """``latest``, ``superseded`` by another run, or ``deleted`` with its object."""
    if row.get("deleted_at"):
        return "deleted"
    return "superseded" if row.get("superseded_by") else "latest"


def _plain(name: str) -> str:
    """Remove characters that have a special meaning in a LIKE pattern."""
    return "".join(character for character in name if character.isalnum() or character == "-")


def _is_uuid(name: str) -> bool:
    try:
        parse_uuid(name)
    except ValueError:
        return False
    return True
