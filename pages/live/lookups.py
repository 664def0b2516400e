"""The pages of one run, one video and one replay, and the search that leads to them."""

import asyncio
import contextlib
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from aiohttp import web
from markupsafe import Markup

from core.errors import ExtentsError, MissingObjectError
from core.history import HistoryEntry, RunLog
from core.identity import parse_uuid
from core.moments import parse_moment
from core.settings import AdmissionSettings
from pages.live.brokers import Brokers
from pages.live.home import Prices
from pages.live.rendering import Renderer, uuid_of
from pages.live.snapshot import SHOWN
from pages.report.attention import rank
from pages.report.page import json_in_html, render_report
from pages.report.payload import payload
from storage.history import read_history
from storage.listings import Filter, Row
from storage.objects import ObjectStore
from storage.replays import Replays
from storage.run_db_reader import MAX_RUN_DB_BYTES, RunDatabase, read_run_db

LOG_MARGIN: Final = timedelta(minutes=5)
"""The margin before a job was created and after it ended: clocks differ, and run_finished follows the row."""

LOG_SECONDS: Final = 20.0
"""The longest time that a page waits for the brokers: the logs of a busy installation can be long."""

TROUBLES_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Lookups:
    renderer: Renderer
    replays: Replays
    store: ObjectStore
    brokers: Brokers
    admission: AdmissionSettings

    async def search(self, request: web.Request) -> web.StreamResponse:
        """Find a run, a video or a tenant by its id, a run also by the first eight characters, and a replay by its name."""
        name = request.query.get("q", "").strip()
        root, lower = self.renderer.root, name.lower()
        row = (await self.replays.run(lower) or await self.replays.job(lower)) if name else None
        if row is not None:
            raise web.HTTPSeeOther(f"{root}/runs/{row['run_id'] or row['id']}")
        with contextlib.suppress(ValueError):
            raise web.HTTPSeeOther(f"{root}/videos/{parse_uuid(lower)}")
        if name and await self.replays.replay(name) is not None:
            raise web.HTTPSeeOther(f"{root}/replays/{name}")
        message = f"Nothing found for {name!r}. Search for the id of a run, a video or a tenant, as a UUID, or for the name of a replay."
        return self.renderer.error(request, 404, message)

    async def video(self, request: web.Request) -> web.Response:
        """Show the history of a video, as ``extents why`` does, or the runs and rejections of a tenant."""
        name = uuid_of(request, "video_id")
        stored = await read_history(self.replays, self.store, self.admission, name)
        if not stored.entries:
            return await self._tenant(request, name)
        logged, trouble = await _attempt(self.brokers.video_log(name, stored.runs, stored.since), list[HistoryEntry]())
        entries = sorted([*stored.entries, *logged], key=lambda entry: entry.at)
        jobs, rejections = await self._rows(Filter(video_id=name))
        return self.renderer.page(
            request,
            "live_video.html",
            name=name,
            sentence=stored.sentence,
            entries=entries,
            trouble=trouble,
            jobs=jobs,
            rejections=rejections,
        )

    async def _tenant(self, request: web.Request, name: UUID) -> web.Response:
        jobs, rejections = await self._rows(Filter(tenant_id=name))
        if not (jobs or rejections):
            raise MissingObjectError(f"Nothing is known about {name}: no job or rejection names a video or a tenant with this id.")
        return self.renderer.page(request, "live_tenant.html", name=name, jobs=jobs, rejections=rejections)

    async def _rows(self, chosen: Filter) -> tuple[list[Row], list[Row]]:
        jobs = [row async for row in self.replays.jobs(chosen, SHOWN)]
        return jobs, [row async for row in self.replays.rejections(chosen, SHOWN)]

    async def run(self, request: web.Request) -> web.Response:
        """Show what happened to a run, its captions and its spans."""
        name = str(uuid_of(request, "run_id"))
        job, row = await self.replays.job(name), await self.replays.run(name)
        if job is None and row is None:
            raise MissingObjectError(f"There is no run {name}.")
        log, trouble = await self._log(job) if job and job["run_id"] else (RunLog(), None)
        database = await self._database(row["wasabi_storage_key"]) if row and not row["deleted_at"] else None
        attention = rank(database) if database else []
        no_strips = f"The strips around the boundary are in the file that extents report {name[:8]} writes."
        data = payload(database, attention, (), no_strips) if database else None
        return self.renderer.page(
            request,
            "live_run.html",
            name=name,
            job=job,
            row=row,
            log=log,
            trouble=trouble,
            database=database,
            attention=attention,
            data=Markup(json_in_html(data)) if data else None,  # noqa: S704 - escaped by json_in_html
        )

    async def _log(self, job: Row) -> tuple[RunLog, str | None]:
        begin = parse_moment(job["created_at"]) - LOG_MARGIN
        ended = job["completed_at"] or (job["updated_at"] if job["status"] == "failed" else None)
        until: datetime | None = parse_moment(ended) + LOG_MARGIN if ended else None
        return await _attempt(self.brokers.run_log(job["run_id"], begin, until), RunLog())

    async def report(self, request: web.Request) -> web.Response:
        """Return the report as a file to download."""
        row = await self._finished(request)
        database = await self._database(row["wasabi_storage_key"])
        text = await asyncio.to_thread(render_report, database, (), "the live page embeds none; extents report does")
        return _download(f"extents-{database.run_id[:8]}.html", text.encode(), "text/html")

    async def object(self, request: web.Request) -> web.Response:
        """Return the run's database from the store, unchanged."""
        row = await self._finished(request)
        data = await self.store.get(row["wasabi_storage_key"], MAX_RUN_DB_BYTES)
        return _download(f"extents-{row['run_id'][:8]}.db", data, "application/vnd.sqlite3")

    async def _finished(self, request: web.Request) -> Row:
        row = await self.replays.run(str(uuid_of(request, "run_id")))
        if row is None:
            raise MissingObjectError("This run has no result yet.")
        return row

    async def _database(self, key: str) -> RunDatabase:
        data = await self.store.get(key, MAX_RUN_DB_BYTES)
        return await asyncio.to_thread(read_run_db, data, key)

    async def replay(self, request: web.Request) -> web.Response:
        """Show a replay's progress, limits, sample and failures."""
        name = request.match_info["replay_id"]
        replay = await self.replays.replay(name)
        if replay is None:
            raise MissingObjectError(f"There is no replay {name}.")
        progress = await self.replays.replay_progress(name)
        prices = Prices(self.admission.gpu_usd_per_hour)
        troubles = await self.replays.troubles(name, TROUBLES_SHOWN) if progress["failed"] or progress["rejected"] else []
        return self.renderer.page(request, "live_replay.html", replay=replay | {"progress": progress}, prices=prices, troubles=troubles)


async def _attempt(reading: Awaitable[Any], otherwise: Any) -> tuple[Any, str | None]:
    """Return the result of a read, or a substitute and the reason, so that the rest of the page is shown anyway."""
    try:
        async with asyncio.timeout(LOG_SECONDS):
            return await reading, None
    except ExtentsError as error:
        return otherwise, str(error)
    except TimeoutError:
        return otherwise, f"reading the log took longer than {LOG_SECONDS:.0f} s; extents why reads it without a limit"


def _download(name: str, content: bytes, content_type: str) -> web.Response:
    return web.Response(body=content, content_type=content_type, headers={"Content-Disposition": f'attachment; filename="{name}"'})
