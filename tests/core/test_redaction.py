"""No secret leaves the process, neither as it is nor as libraries quote it."""

import json
import logging
from urllib.parse import quote

import pytest
import structlog

from core.errors import TransientError
from core.logging import configure_logging, get_logger
from core.redaction import MASK, redact, redact_bytes, redact_json, register_secret
from core.settings import ProcessSettings

PLANTED = 'pl"anted/s3cret+\\value'
register_secret(PLANTED)
register_secret("tiny")
register_secret("abc")
register_secret("9753124")


@pytest.mark.parametrize(
    "text",
    [
        PLANTED,
        f"Bearer {PLANTED}",
        f"x{PLANTED}x",
        repr(PLANTED),
        repr(PLANTED.encode()),
        json.dumps({"k": PLANTED}),
        quote(PLANTED, safe=""),
    ],
)
def test_a_secret_is_masked_however_it_is_written(text):
    """A secret is masked as it is, within a word, and in the spellings of repr, JSON and URLs."""
    assert MASK in redact(text)
    assert "s3cret" not in redact(text)


def test_a_short_secret_is_masked_as_a_word_alone():
    """A short secret is masked only as a whole word, and a secret below four characters not at all."""
    assert redact("login with 'tiny' failed: abc") == f"login with '{MASK}' failed: abc"
    assert redact("destiny") == "destiny"
    assert redact(json.dumps("first line\ntiny")) == json.dumps(f"first line\n{MASK}")


def test_a_login_in_any_url_is_masked():
    """A user name and password in any URL are masked, for example a proxy's, which is in no setting of ours."""
    assert redact("proxy http://user:pass@proxy:3128 refused") == f"proxy http://{MASK}@proxy:3128 refused"
    assert redact("http://127.0.0.1:8333/a@b") == "http://127.0.0.1:8333/a@b"


def test_bytes_are_masked_and_others_stay_as_they_are():
    """Secrets in bytes are masked; bytes without one are returned unchanged."""
    assert redact_bytes(json.dumps({"message": PLANTED}).encode()) == json.dumps({"message": MASK}).encode()
    data = b"\xff\xfe" + bytes(range(256))
    assert redact_bytes(data) is data
    assert redact_bytes(b"\xff" + PLANTED.encode()) == b"\xff" + MASK.encode()


def test_json_stays_json_with_the_same_numbers():
    """A secret of digits is masked in JSON's texts and names, but an equal number is not."""
    data = b'{"pairs":9753124,"message":"login 9753124","9753124":["9753124",1.5,null]}'
    assert redact_json(data) == f'{{"pairs":9753124,"message":"login {MASK}","{MASK}":["{MASK}",1.5,null]}}'.encode()
    plain = b'{"pairs": 600}'
    assert redact_json(plain) is plain
    assert redact_json(b"9753124 is no JSON {") == f"{MASK} is no JSON {{".encode()


def test_an_error_of_ours_never_shows_one():
    """The text of our own errors is masked, so that rows, events and records made from it are too."""
    assert str(TransientError(f"the API answered 500: {PLANTED}")) == f"the API answered 500: {MASK}"


@pytest.fixture
def restored():
    """Restores logging afterwards."""
    root, handlers, level = logging.getLogger(), list(logging.getLogger().handlers), logging.getLogger().level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.parametrize("log_format", ["json", "text"])
@pytest.mark.usefixtures("restored")
def test_no_line_of_the_log_shows_one(capsys, log_format):
    """No line of the log shows a secret, whether from a field, a traceback or a library."""
    configure_logging(ProcessSettings(log_format=log_format))
    get_logger("here").warning("call.failed", error=PLANTED, nested={PLANTED: [PLANTED]})
    try:
        raise ValueError(f"Illegal header value {PLANTED.encode()!r}")
    except ValueError:
        get_logger("here").exception("record.crashed")
    logging.getLogger("library").error("sent %s", PLANTED)
    written = capsys.readouterr().err
    assert written.count(MASK) >= 5
    assert "s3cret" not in written
    if log_format == "json":
        assert [json.loads(line)["event"] for line in written.splitlines()] == ["call.failed", "record.crashed", f"sent {MASK}"]


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize(
    ("value", "logged"), [(9753124, 9753124), ("caf\udce9.mp4", "caf\udce9.mp4"), (2**70, 2**70), ("line\nof 9753124", f"line\nof {MASK}")]
)
def test_no_value_costs_a_line_of_the_log(capsys, value, logged):
    """A number equal to a secret, a name that is not UTF-8 and an integer of any size are all logged as JSON."""
    configure_logging(ProcessSettings(log_format="json"))
    get_logger("here").warning("value.seen", value=value)
    written = json.loads(capsys.readouterr().err)
    assert (written["event"], written["value"]) == ("value.seen", logged)
