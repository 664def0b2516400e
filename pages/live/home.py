"""The home page, and the server-sent events that keep it up to date."""

from collections.abc import Callable
from dataclasses import dataclass
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
"""Stands for the form token in text that all sessions of a role share."""

PARTS: Final[dict[str, Callable[[Snapshot], Any]]] = {
    "figures": lambda now: (now.overview, now.letter_count),
    "in_progress": lambda now: (now.in_progress, now.overview and now.overview["jobs"]),
    "rejections": lambda now: now.rejections,
    "letters": lambda now: (now.letters, now.letter_count),
    "replays": lambda now: now.replays,
    "recent": lambda now: now.recent,
    "workers": lambda now: (now.groups, now.workers),
}
"""The parts of the page in their order, each with the data that it shows."""

STILL_HERE_SECONDS: Final = 15.0
"""How often something is written to each viewer, so that a viewer who has left is noticed."""


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices that turn GPU seconds into dollars."""

    gpu_usd_per_hour: float
    daily_budget_usd: float | None = None

    def dollars(self, gpu_seconds: float) -> float:
        return gpu_seconds / 3600 * self.gpu_usd_per_hour


class Home:
    """Renders each part once for all viewers of a role, and again when its data changes."""

    def __init__(self, renderer: Renderer, watcher: Watcher, prices: Prices) -> None:
        self._renderer, self._watcher, self._prices = renderer, watcher, prices
        self._rendered: dict[tuple[str, Role], tuple[Any, str]] = {}

    async def show(self, request: web.Request) -> web.Response:
        session = required_session(request)
        snapshot = await self._watcher.current()
        parts = {name: Markup(self._for(session, text)) for name, text in self._parts(session.role).items()}  # noqa: S704 - of templates
        charts = Markup(json_in_html(_columns(snapshot)))  # noqa: S704 - escaped by json_in_html
        return self._renderer.page(request, "live_home.html", parts=parts, charts=charts)

    async def follow(self, request: web.Request, headers: dict[str, str]) -> web.StreamResponse:
        """Send every part and the charts, then each change, until the session expires."""
        session = required_session(request)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **headers})
        await response.prepare(request)
        self._watcher.viewers += 1
        self._watcher.hurry()
        try:
            await self._watcher.current()
            sent: dict[str, str] = {}
            activity: object = None
            while not session.expired:
                version, snapshot, parts = self._watcher.version, self._watcher.snapshot, self._parts(session.role)
                changed = {name: self._for(session, text) for name, text in parts.items() if sent.get(name) is not text}
                charts = _columns(snapshot) if snapshot.activity is not activity else None
                await response.write(b"data: " + orjson.dumps({"parts": changed, "charts": charts}) + b"\n\n")
                sent, activity = parts, snapshot.activity
                while not await self._watcher.changed_from(version, STILL_HERE_SECONDS) and not session.expired:
                    await response.write(b": nothing has changed\n\n")
        except ConnectionResetError:
            pass  # the viewer has left
        finally:
            self._watcher.viewers -= 1
        return response

    def _parts(self, role: Role) -> dict[str, str]:
        """Render each part for a role, with ``TOKEN_PLACE`` in its forms. An unchanged part is the same object again."""
        snapshot, session = self._watcher.snapshot, Session("", role, "", 0)
        parts = {}
        for name, shown in PARTS.items():
            content = (shown(snapshot), snapshot.errors)
            known, text = self._rendered.get((name, role), (None, ""))
            if known != content:
                text = self._renderer.text(f"home/{name}.html", session, TOKEN_PLACE, now=snapshot, prices=self._prices)
                self._rendered[name, role] = (content, text)
            parts[name] = text
        return parts

    def _for(self, session: Session, text: str) -> str:
        return text.replace(TOKEN_PLACE, self._renderer.sessions.form_token(session))


def _columns(snapshot: Snapshot) -> list[list[Any]]:
    """Return the last hour's activity in uPlot's format: times, then each series."""
    rows = snapshot.activity
    names = ("pairs_per_second", "high_pairs", "low_pairs", "high_runs", "low_runs")
    return [[_seconds(row["at"]) for row in rows], *([row[name] for row in rows] for name in names)]


def _seconds(moment: str) -> float:
    return parse_moment(moment).timestamp()
