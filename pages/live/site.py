"""The live page's web application: log in, view, act. Mounted by the coordinator, or served separately by ``extents ui``."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from core.errors import ExtentsError, MissingObjectError
from core.settings import AdmissionSettings
from pages.assets import read_asset
from pages.live.actions import Actions, RefusedActionError
from pages.live.brokers import Brokers
from pages.live.home import Home, Prices
from pages.live.lookups import Lookups
from pages.live.rendering import SESSION, Renderer, session_of
from pages.live.sessions import COOKIE, SESSION_SECONDS, Sessions
from pages.live.snapshot import Watcher
from storage.objects import ObjectStore
from storage.replays import Replays

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
    "home.js": "text/javascript",
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
    """Routes, sessions, permissions and response headers; the pages are in other modules.

    Args:
        admission: prices and limits that the pages show.
        root: the path that the application is mounted at.
    """

    def __init__(
        self, access: Access, replays: Replays, store: ObjectStore, brokers: Brokers, admission: AdmissionSettings, root: str
    ) -> None:
        self._root = root
        self._sessions = Sessions(access.viewer_token, access.operator_token)
        self._renderer = Renderer(root, self._sessions)
        self._watcher = Watcher(replays, brokers)
        prices = Prices(admission.gpu_usd_per_hour, admission.daily_budget_usd)
        self._home = Home(self._renderer, self._watcher, prices)
        self._lookups = Lookups(self._renderer, replays, store, brokers, admission)
        self._actions = Actions(replays, brokers, self._watcher, root)

    def application(self) -> web.Application:
        """Return the application, to be mounted at the given root."""
        app = web.Application(middlewares=[self._guard])
        look, act = self._lookups, self._actions
        app.add_routes(
            [
                web.get("/", self._home.show),
                web.get("/login", self._login_form),
                web.post("/login", self._log_in),
                web.post("/logout", self._log_out),
                web.get("/events", self._events),
                web.get("/search", look.search),
                web.get("/runs/{run_id}", look.run),
                web.get("/runs/{run_id}/report.html", look.report),
                web.get("/runs/{run_id}/run.db", look.object),
                web.get("/videos/{video_id}", look.video),
                web.get("/replays/{replay_id}", look.replay),
                web.post("/rejections/{rejection_id}/acknowledge", act.acknowledge),
                web.post(r"/letters/{partition:\d+}/{offset:\d+}/redrive", act.redrive),
                web.post(r"/letters/{partition:\d+}/{offset:\d+}/discard", act.discard),
                web.post("/replays/{replay_id}/pause", act.pause),
                web.post("/replays/{replay_id}/resume", act.resume),
                web.post("/replays/{replay_id}/cancel", act.cancel),
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
        request[SESSION] = self._sessions.from_cookie(request.cookies.get(COOKIE, ""))
        try:
            refusal = await self._refusal(request)
            response = await handler(request) if refusal is None else refusal
        except web.HTTPException as answer:
            _protect(answer)
            raise
        except MissingObjectError as error:
            response = self._renderer.error(request, 404, str(error))
        except RefusedActionError as error:
            response = self._renderer.error(request, 409, str(error))
        except ExtentsError as error:
            response = self._renderer.error(request, 503, str(error))
        if not response.prepared:
            _protect(response)
        return response

    async def _refusal(self, request: web.Request) -> web.Response | None:
        """Refuse a page without a session, and an action without the operator's session and a form of that session."""
        path = request.path.removeprefix(self._root)
        if request.method == "POST" and request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
            return self._renderer.error(request, 403, "This form comes from another site.")
        if path == "/login" or path.startswith("/assets/"):
            return None
        session = session_of(request)
        if session is None:
            raise web.HTTPSeeOther(f"{self._root}/login")
        if request.method != "POST":
            return None
        form = await request.post()
        if not self._sessions.is_from(session, str(form.get("form_token", ""))):
            message = "This form is too old or comes from another site. Go back, reload the page and try again."
            return self._renderer.error(request, 403, message)
        if path != "/logout" and not session.may_act:
            return self._renderer.error(request, 403, "You may look, but not act. Log in with the operator's token to do this.")
        return None

    async def _events(self, request: web.Request) -> web.StreamResponse:
        return await self._home.follow(request, HEADERS)

    async def _asset(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in ASSETS:
            raise web.HTTPNotFound
        return web.Response(text=read_asset(name), content_type=ASSETS[name], headers={"Cache-Control": "max-age=300"})

    async def _login_form(self, request: web.Request) -> web.Response:
        return self._renderer.page(request, "live_login.html", wrong=False)

    async def _log_in(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        session = self._sessions.log_in(str(form.get("token", "")), str(form.get("name", "")))
        if session is None:
            await asyncio.sleep(FAILED_LOGIN_SECONDS)
            return self._renderer.page(request, "live_login.html", 403, wrong=True)
        response = web.HTTPSeeOther(f"{self._root}/")
        secure = request.secure or request.headers.get("X-Forwarded-Proto") == "https"
        cookie = self._sessions.to_cookie(session)
        response.set_cookie(
            COOKIE, cookie, max_age=SESSION_SECONDS, path=self._root or "/", httponly=True, samesite="Strict", secure=secure
        )
        raise response

    async def _log_out(self, _: web.Request) -> web.StreamResponse:
        response = web.HTTPSeeOther(f"{self._root}/login")
        response.del_cookie(COOKIE, path=self._root or "/")
        raise response


def _protect(response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
