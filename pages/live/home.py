"""The home page, and the events by which it follows what changes."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import orjson
from aiohttp import web
from markupsafe import Markup

from core.moments import parse_moment
from pages.live.rendering import Renderer, required_session
from pages.live.sessions import Role, Session
from pages.live.snapshot import Snapshot, Watcher
from pages.report.page import json_in_html

TOKEN_PLACE: Final = "f" * 64
"""Stands for a session's form token in what all sessions of a role share."""

STILL_HERE_SECONDS: Final = 15.0
"""How often something is written to a viewer, by which one that has left is noticed."""


@dataclass(frozen=True, slots=True)
class Prices:
    """What turns GPU seconds into dollars."""

    gpu_usd_per_hour: float
    daily_budget_usd: float | None = None

    def dollars(self, gpu_seconds: float) -> float:
        return gpu_seconds / 3600 * self.gpu_usd_per_hour


class Home:
    def __init__(self, renderer: Renderer, watcher: Watcher, prices: Prices) -> None:
        self._renderer, self._watcher, self._prices = renderer, watcher, prices
        self._rendered = lru_cache(maxsize=len(Role))(self._render)

    async def show(self, request: web.Request) -> web.Response:
        session = required_session(request)
        snapshot = await self._watcher.current()
        figures, sections = (Markup(text) for text in self._parts(session))  # noqa: S704 - of templates
        charts = Markup(json_in_html(_columns(snapshot)))  # noqa: S704 - escaped by json_in_html
        return self._renderer.page(request, "live_home.html", figures=figures, sections=sections, charts=charts)

    async def follow(self, request: web.Request, headers: dict[str, str]) -> web.StreamResponse:
        """Server-sent events: sections and charts as they are now, and again after each change, until the session expires."""
        session = required_session(request)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **headers})
        await response.prepare(request)
        self._watcher.viewers += 1
        self._watcher.hurry()
        try:
            await self._watcher.current()
            while not session.expired:
                version = self._watcher.version
                await response.write(self._event(session))
                while not await self._watcher.changed_from(version, STILL_HERE_SECONDS) and not session.expired:
                    await response.write(b": nothing has changed\n\n")
        except ConnectionResetError:
            pass  # the viewer has left
        finally:
            self._watcher.viewers -= 1
        return response

    def _parts(self, session: Session) -> tuple[str, str]:
        figures, sections, _ = self._rendered(self._watcher.version, session.role)
        return figures, sections.replace(TOKEN_PLACE, self._renderer.sessions.form_token(session))

    def _event(self, session: Session) -> bytes:
        *_, event = self._rendered(self._watcher.version, session.role)
        return event.replace(TOKEN_PLACE.encode(), self._renderer.sessions.form_token(session).encode())

    def _render(self, version: int, role: Role) -> tuple[str, str, bytes]:
        """A version of the snapshot as a role sees it: figures, sections, and the event that carries both."""
        snapshot, session = self._watcher.snapshot, Session("", role, "", 0)
        figures, sections = (
            self._renderer.text(template, session, TOKEN_PLACE, now=snapshot, prices=self._prices)
            for template in ("live_figures.html", "live_sections.html")
        )
        event = orjson.dumps({"figures": figures, "sections": sections, "charts": _columns(snapshot)})
        return figures, sections, b"data: " + event + b"\n\n"


def _columns(snapshot: Snapshot) -> list[list[Any]]:
    """Of the last hour's activity, as uPlot takes them: times, then each series."""
    rows = snapshot.activity
    names = ("pairs_per_second", "high_pairs", "low_pairs", "high_runs", "low_runs")
    return [[_seconds(row["at"]) for row in rows], *([row[name] for row in rows] for name in names)]


def _seconds(moment: str) -> float:
    return parse_moment(moment).timestamp()
