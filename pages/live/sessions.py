"""Who may look and who may act: two tokens, a signed cookie, and a token in each form against requests from other sites."""

import base64
import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import orjson

COOKIE: Final = "extents_session"
SESSION_SECONDS: Final = 12 * 3600
"""A working day, after which the token is requested again."""

MAX_NAME: Final = 80


class Role(StrEnum):
    VIEWER = "viewer"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Session:
    """A logged-in user. ``name`` is as typed and not verified, so the audit table shows it beside the role, which is verified."""

    id: str
    role: Role
    name: str
    expires_at: int

    @property
    def may_act(self) -> bool:
        return self.role is Role.OPERATOR

    @property
    def expired(self) -> bool:
        return self.expires_at <= time.time()


class Sessions:
    """Creates and checks sessions. Nothing is stored: every coordinator with the same tokens accepts the same cookie.

    The signing key is derived from the tokens, so a new token ends the sessions of the old one.
    """

    def __init__(self, viewer_token: str | None, operator_token: str | None) -> None:
        self._tokens = {Role.OPERATOR: operator_token, Role.VIEWER: viewer_token}
        material = "\0".join(f"{role}={token or ''}" for role, token in self._tokens.items())
        self._key = hashlib.sha256(b"extents-page\0" + material.encode()).digest()

    def log_in(self, token: str, name: str) -> Session | None:
        """Return a session for a token, or None for a wrong one. Both take the same time."""
        given = hashlib.sha256(token.encode()).digest()
        role = None
        for candidate, expected in self._tokens.items():
            if hmac.compare_digest(given, hashlib.sha256((expected or secrets.token_hex()).encode()).digest()):
                role = role or candidate
        if role is None:
            return None
        return Session(secrets.token_urlsafe(12), role, name.strip()[:MAX_NAME], int(time.time()) + SESSION_SECONDS)

    def to_cookie(self, session: Session) -> str:
        content = base64.urlsafe_b64encode(orjson.dumps([session.id, session.role, session.name, session.expires_at])).decode()
        return f"{content}.{self._sign('cookie', content)}"

    def from_cookie(self, cookie: str) -> Session | None:
        """Return the session of a cookie that we created and that has not expired."""
        content, _, signature = cookie.rpartition(".")
        if not _equal(signature, self._sign("cookie", content)):
            return None
        session_id, role, name, expires_at = orjson.loads(base64.urlsafe_b64decode(content))
        session = Session(session_id, Role(role), name, expires_at)
        return None if session.expired else session

    def form_token(self, session: Session) -> str:
        """Return the token that each form of a session carries, and that another site cannot know."""
        return self._sign("form", session.id)

    def is_from(self, session: Session, form_token: str) -> bool:
        return _equal(form_token, self.form_token(session))

    def _sign(self, purpose: str, content: str) -> str:
        return hmac.new(self._key, f"{purpose}\0{content}".encode(errors="surrogateescape"), hashlib.sha256).hexdigest()


def _equal(given: str, expected: str) -> bool:
    """Compare in constant time. A client may send any characters, which ``compare_digest`` accepts only as bytes."""
    return hmac.compare_digest(given.encode(errors="surrogateescape"), expected.encode())
