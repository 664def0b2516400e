"""The live page's web application: log in, view, act. Mounted by the coordinator, or served separately by ``extents ui``."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import orjson
from aiohttp import web
from markupsafe import Markup

from core.errors import ExtentsError, MissingObjectError
from core.identity import parse_uuid
from pages.assets import read_asset, templates
from pages.live import views
from pages.live.actions import acknowledge_rejection
from pages.live.sessions import COOKIE, SESSION_SECONDS, Session, Sessions
from pages.live.snapshot import SHOWN, Brokers, Watcher
from pages.report.attention import rank
from pages.report.page import json_in_html, render_report
from pages.report.payload import payload
from storage.listings import Filter, Listings
from storage.objects import ObjectStore
from storage.run_db_reader import MAX_RUN_DB_BYTES, RunDatabase, read_run_db

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
ASSETS: Final = {
    "base.css": "text/css",
    "live.css": "text/css",
    "timeline.css": "text/css",
    "report.css": "text/css",
    "vendor/uPlot.min.css": "text/css",
    "live.js": "text/javascript",
    "timeline.js": "text/javascript",
    "report.js": "text/javascript",
    "vendor/uPlot.iife.min.js": "text/javascript",
}
FAILED_LOGIN_SECONDS: Final = 1.0
"""Pause after a wrong token."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Access:
    """The two tokens. Without any token, the page is not served."""

    viewer_token: str | None
    operator_token: str | None


class Site:
    def __init__(self, access: Access, listings: Listings, store: ObjectStore, brokers: Brokers, root: str) -> None:
        self._sessions = Sessions(access.viewer_token, access.operator_token)
        self._listings, self._store, self._root = listings, store, root
        self._watcher = Watcher(listings, brokers)

    def application(self) -> web.Application:
        """Return the application, to be mounted at the given root."""
        app = web.Application(middlewares=[self._guard])
        app.add_routes(
            [
                web.get("/", self._home),
                web.get("/login", self._login_form),
                web.post("/login", self._log_in),
                web.post("/logout", self._log_out),
                web.get("/events", self._events),
                web.get("/search", self._search),
                web.get("/runs/{run_id}", self._run),
                web.get("/runs/{run_id}/report.html", self._report),
                web.get("/videos/{video_id}", self._video),
                web.post("/rejections/{rejection_id}/acknowledge", self._acknowledge),
                web.get("/assets/{name:.+}", self._asset),
            ]
        )
        app.cleanup_ctx.append(self._watching)
        return app

    async def _watching(self, _: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(self._watcher.run())
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Pass on what the session may do, show errors as pages, and set headers on everything."""
        request["session"] = self._sessions.from_cookie(request.cookies.get(COOKIE, ""))
        try:
            refusal = await self._refusal(request)
            response = await handler(request) if refusal is None else refusal
        except web.HTTPException as answer:
            _protect(answer)
            raise
        except MissingObjectError as error:
            response = self._error(request, 404, str(error))
        except ExtentsError as error:
            response = self._error(request, 503, str(error))
        if not response.prepared:
            _protect(response)
        return response

    async def _refusal(self, request: web.Request) -> web.Response | None:
        """Refuse a page without a session, and an action without the operator's session and a form of that session."""
        path = request.path.removeprefix(self._root)
        if path == "/login" or path.startswith("/assets/"):
            return None
        session: Session | None = request["session"]
        if session is None:
            raise web.HTTPSeeOther(f"{self._root}/login")
        if request.method != "POST":
            return None
        form = await request.post()
        if not self._sessions.is_from(session, str(form.get("form_token", ""))):
            return self._error(request, 403, "This form is too old or comes from another site. Go back, reload the page and try again.")
        if path != "/logout" and not session.may_act:
            return self._error(request, 403, "You may look, but not act. Log in with the operator's token to do this.")
        return None

    def _page(self, request: web.Request, template: str, status: int = 200, **values: Any) -> web.Response:
        session: Session | None = request["session"]
        text = (
            templates()
            .get_template(template)
            .render(
                root=self._root,
                session=session,
                form_token=self._sessions.form_token(session) if session else "",
                views=views,
                **values,
            )
        )
        return web.Response(text=text, content_type="text/html", status=status)

    def _error(self, request: web.Request, status: int, message: str) -> web.Response:
        return self._page(request, "live_error.html", status, message=message)

    async def _asset(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in ASSETS:
            raise web.HTTPNotFound
        return web.Response(text=read_asset(name), content_type=ASSETS[name], headers={"Cache-Control": "max-age=300"})

    async def _login_form(self, request: web.Request) -> web.Response:
        return self._page(request, "live_login.html", wrong=False)

    async def _log_in(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        session = self._sessions.log_in(str(form.get("token", "")), str(form.get("name", "")))
        if session is None:
            await asyncio.sleep(FAILED_LOGIN_SECONDS)
            return self._page(request, "live_login.html", 403, wrong=True)
        response = web.HTTPSeeOther(f"{self._root}/")
        secure = request.secure or request.headers.get("X-Forwarded-Proto") == "https"
        cookie = self._sessions.to_cookie(session)
        response.set_cookie(
            COOKIE, cookie, max_age=SESSION_SECONDS, path=self._root or "/", httponly=True, samesite="Strict", secure=secure
        )
        return response

    async def _log_out(self, _: web.Request) -> web.StreamResponse:
        response = web.HTTPSeeOther(f"{self._root}/login")
        response.del_cookie(COOKIE, path=self._root or "/")
        return response

    def _sections(self, request: web.Request) -> str:
        session: Session = request["session"]
        return (
            templates()
            .get_template("live_sections.html")
            .render(
                root=self._root,
                session=session,
                form_token=self._sessions.form_token(session),
                views=views,
                now=self._watcher.snapshot,
            )
        )

    def _charts(self) -> list[list[float]]:
        """Return columns, in uPlot's format."""
        history = list(self._watcher.history)
        return [[each.at for each in history], *([getattr(each, name) for each in history] for name in ("high", "low", "unfinished"))]

    async def _home(self, request: web.Request) -> web.Response:
        if self._watcher.snapshot.at is None:
            await self._watcher.refresh()
        self._watcher.hurry()
        charts = Markup(json_in_html(self._charts()))  # noqa: S704 - escaped by json_in_html
        return self._page(request, "live_home.html", sections=Markup(self._sections(request)), charts=charts)  # noqa: S704 - a template's

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Send server-sent events: the current sections after each refresh, until the session expires."""
        session: Session = request["session"]
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **HEADERS})
        await response.prepare(request)
        self._watcher.viewers += 1
        self._watcher.hurry()
        try:
            while not session.expired:
                data = orjson.dumps({"html": self._sections(request), "charts": self._charts()})
                await response.write(b"data: " + data + b"\n\n")
                await self._watcher.changed()
        except ConnectionResetError:
            pass  # the viewer has left
        finally:
            self._watcher.viewers -= 1
        return response

    async def _search(self, request: web.Request) -> web.StreamResponse:
        """Find a run, a video or a tenant by its id; a run also by the first eight characters."""
        name = request.query.get("q", "").strip().lower()
        row = (await self._listings.run(name) or await self._listings.job(name)) if name else None
        if row is not None:
            raise web.HTTPSeeOther(f"{self._root}/runs/{row['run_id'] or row['id']}")
        with contextlib.suppress(ValueError):
            raise web.HTTPSeeOther(f"{self._root}/videos/{parse_uuid(name)}")
        return self._error(request, 404, f"Nothing found for {name!r}. Search for the id of a run, a video or a tenant, as a UUID.")

    async def _video(self, request: web.Request) -> web.Response:
        """Show all that is known about a video, or about a tenant's videos."""
        name = _uuid(request, "video_id")
        for chosen, what in ((Filter(video_id=name), "Video"), (Filter(tenant_id=name), "Tenant")):
            jobs = [row async for row in self._listings.jobs(chosen, SHOWN)]
            rejections = [row async for row in self._listings.rejections(chosen, SHOWN)]
            if jobs or rejections:
                return self._page(request, "live_video.html", name=name, what=what, jobs=jobs, rejections=rejections)
        raise MissingObjectError(f"Nothing is known of {name}: no job and no rejection names it as a video or as a tenant.")

    async def _run(self, request: web.Request) -> web.Response:
        name = str(_uuid(request, "run_id"))
        job, row = await self._listings.job(name), await self._listings.run(name)
        if job is None and row is None:
            raise MissingObjectError(f"There is no run {name}.")
        database = await self._database(row["wasabi_storage_key"]) if row and not row["deleted_at"] else None
        attention = rank(database) if database else []
        data = Markup(json_in_html(payload(database, attention, ()))) if database else None  # noqa: S704 - escaped by json_in_html
        return self._page(
            request, "live_run.html", name=name, job=job, row=row, database=database, attention=attention, data=data, now=datetime.now(UTC)
        )

    async def _report(self, request: web.Request) -> web.Response:
        """Return the report as a file to download."""
        row = await self._listings.run(str(_uuid(request, "run_id")))
        if row is None:
            raise MissingObjectError("This run has no result yet.")
        database = await self._database(row["wasabi_storage_key"])
        text = await asyncio.to_thread(render_report, database, (), "the live page embeds none; extents report does")
        disposition = f'attachment; filename="extents-{database.run_id[:8]}.html"'
        return web.Response(text=text, content_type="text/html", headers={"Content-Disposition": disposition})

    async def _database(self, key: str) -> RunDatabase:
        data = await self._store.get(key, MAX_RUN_DB_BYTES)
        return await asyncio.to_thread(read_run_db, data, key)

    async def _acknowledge(self, request: web.Request) -> web.StreamResponse:
        await acknowledge_rejection(self._listings, request["session"], _uuid(request, "rejection_id"))
        await self._watcher.refresh()
        raise web.HTTPSeeOther(f"{self._root}/#rejections")


def _protect(response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)


def _uuid(request: web.Request, name: str) -> UUID:
    text = request.match_info[name]
    try:
        return parse_uuid(text)
    except ValueError as error:
        raise MissingObjectError(f"{text} is no id.") from error
