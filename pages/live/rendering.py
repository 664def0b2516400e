"""Renders templates for a session, and errors as pages."""

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from aiohttp import web

from core.errors import MissingObjectError
from core.identity import parse_uuid
from pages.assets import templates
from pages.live import views
from pages.live.sessions import Session, Sessions

SESSION: Final = web.RequestKey[Session | None]("session")
"""The key of a request's session."""


@dataclass(frozen=True, slots=True)
class Renderer:
    """``root`` is the path that the application is mounted at."""

    root: str
    sessions: Sessions

    def text(self, template: str, session: Session | None, form_token: str, **values: Any) -> str:
        made = templates().get_template(template)
        return made.render(root=self.root, session=session, form_token=form_token, views=views, **values)

    def page(self, request: web.Request, template: str, status: int = 200, **values: Any) -> web.Response:
        session = session_of(request)
        form_token = self.sessions.form_token(session) if session else ""
        return web.Response(text=self.text(template, session, form_token, **values), content_type="text/html", status=status)

    def error(self, request: web.Request, status: int, message: str) -> web.Response:
        return self.page(request, "live_error.html", status, message=message)


def session_of(request: web.Request) -> Session | None:
    return request[SESSION]


def required_session(request: web.Request) -> Session:
    """Return the session of a request that has passed the guard."""
    session = request[SESSION]
    assert session is not None
    return session


def uuid_of(request: web.Request, name: str) -> UUID:
    """Return an id from the path.

    Raises:
        MissingObjectError: it is not a UUID.
    """
    text = request.match_info[name]
    try:
        return parse_uuid(text)
    except ValueError as error:
        raise MissingObjectError(f"{text} is not a UUID.") from error
