"""Which tokens, cookies and forms allow reading and acting, tested without a server."""

import time
from dataclasses import replace

from pages.live.sessions import Role, Sessions

VIEWER, OPERATOR = "viewer-token-1", "operator-token-1"


def test_each_token_gives_its_role():
    """The operator's token permits acting, the viewer's only reading, and any other token nothing."""
    sessions = Sessions(VIEWER, OPERATOR)
    assert sessions.log_in(VIEWER, "").role is Role.VIEWER
    assert sessions.log_in(OPERATOR, "").may_act
    assert not sessions.log_in(VIEWER, "").may_act
    for wrong in ("", "viewer-token", VIEWER + " ", OPERATOR.upper()):
        assert sessions.log_in(wrong, "") is None


def test_a_role_without_a_token_cannot_be_had():
    """If only one token is set, the other role does not exist, even for an empty token."""
    sessions = Sessions(VIEWER, None)
    assert sessions.log_in("", "") is None
    assert sessions.log_in("None", "") is None
    assert sessions.log_in(VIEWER, "").role is Role.VIEWER


def test_only_our_own_cookies_are_accepted():
    """A changed, foreign or expired cookie is rejected; a cookie of another coordinator with the same tokens is accepted."""
    sessions, elsewhere = Sessions(VIEWER, OPERATOR), Sessions(VIEWER, OPERATOR)
    session = sessions.log_in(VIEWER, " Ada ")
    cookie = sessions.to_cookie(session)
    assert elsewhere.from_cookie(cookie) == session
    assert session.name == "Ada"
    content, _, signature = cookie.rpartition(".")
    for wrong in (
        "",
        "x",
        content,
        f"{content}.{'0' * 64}",
        f"x{cookie}",
        f"{content}.é",
        "é.\udcff",
        Sessions(VIEWER, "another-token").to_cookie(session),
    ):
        assert sessions.from_cookie(wrong) is None
    assert sessions.from_cookie(sessions.to_cookie(replace(session, expires_at=int(time.time()) - 1))) is None
    assert len(signature) == 64


def test_a_form_belongs_to_its_session():
    """A form's token is valid only for its own session."""
    sessions = Sessions(VIEWER, OPERATOR)
    session, other = sessions.log_in(OPERATOR, ""), sessions.log_in(OPERATOR, "")
    assert sessions.is_from(session, sessions.form_token(session))
    assert not sessions.is_from(session, sessions.form_token(other))
    assert not sessions.is_from(session, "")
    assert not sessions.is_from(session, "é")
