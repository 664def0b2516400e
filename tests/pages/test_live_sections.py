"""Renders states of the home page that a busy installation does not show: empty parts, and parts that cannot be read."""

from datetime import UTC, datetime

from pages.assets import templates
from pages.live import views
from pages.live.brokers import Letter, WorkerGroup
from pages.live.home import PARTS, Prices
from pages.live.sessions import Role, Session
from pages.live.snapshot import SHOWN, Snapshot

OVERVIEW = {
    "jobs": [{"priority": "high", "status": "queued", "count": 3, "oldest_at": "2026-01-02T03:04:05+00:00"}],
    "completed": 5,
    "failed": 1,
    "unacknowledged_rejections": 0,
    "gpu_seconds_today": 400.0,
    "replays": [],
}


def rendered(snapshot: Snapshot, role: Role = Role.OPERATOR) -> str:
    values = {"root": "/ui", "session": Session("id", role, "Ada", 0), "form_token": "token", "views": views, "prices": Prices(1.8, 20)}
    return "".join(templates().get_template(f"home/{name}.html").render(now=snapshot, **values) for name in PARTS)


def test_an_empty_installation_says_what_will_be_there():
    """Each empty part says that it is empty, and what will appear there."""
    text = rendered(Snapshot(overview={**OVERVIEW, "jobs": []}))
    for sentence in ("Nothing is in progress", "extents submit", "None is waiting", "No run has ended", "No worker has joined"):
        assert sentence in text


def test_what_cannot_be_read_does_not_hide_the_rest():
    """An outage is named at the top, all other parts are shown, and a part that could not be read is not called empty."""
    text = rendered(Snapshot(overview=OVERVIEW, errors={"brokers": "no route to host"}))
    assert "The brokers cannot be read: no route to host" in text
    assert "<dt>queued</dt><dd>3</dd>" in text
    assert "<dt>dead letters</dt><dd>unknown</dd>" in text
    for claim in ("No worker has joined", "None is waiting"):
        assert claim not in text
    text = rendered(Snapshot(letter_count=0, errors={"database": "timed out"}))
    assert "None is waiting" in text
    for claim in ("Nothing is in progress", "Rejected requests appear here", "No run has ended"):
        assert claim not in text


def test_what_others_wrote_is_text():
    """Markup in an error message is shown as text."""
    hostile = "<script>alert(1)</script>"
    letter = Letter("0/1", "video.encoded", "poison", hostile, None, datetime.now(UTC))
    groups = [WorkerGroup(hostile, "Stable", ("10.0.0.1",), {"t": 1})]
    text = rendered(Snapshot(overview=OVERVIEW, letters=(letter,), letter_count=1, groups=tuple(groups)))
    assert hostile not in text
    assert "&lt;script&gt;alert(1)" in text


def test_durations_are_read_at_a_glance():
    """A duration is shown in seconds, minutes, hours or days, whichever is shortest."""
    shown = [views.duration(seconds) for seconds in (None, -3, 12.4, 99, 100, 5_400, 6_100, 200_000)]
    assert shown == ["", "0 s", "12 s", "99 s", "2 min", "90 min", "1.7 h", "2 d"]


def test_dollars_of_today_follow_from_the_gpu_time():
    """400 s at $1.80 an hour are 20 cents, beside the day's budget."""
    text = rendered(Snapshot(overview=OVERVIEW))
    assert "$0.20 <small>of $20.00</small>" in text


def test_long_tables_say_how_much_more_there_is():
    """Long lists of jobs and dead letters show the first rows, count the others, and name the command that lists them."""
    jobs = [{"priority": "high", "status": "queued", "count": 1_000}]
    row = dict.fromkeys(("video_id", "run_id"), "v" * 36) | {"status": "queued", "priority": "high", "pairs_total": 9, "pairs_done": 0}
    row |= {"created_at": None, "started_at": None}
    letters = tuple(Letter(f"0/{number}", "video.encoded", "poison", "broken", None, datetime.now(UTC)) for number in range(SHOWN))
    text = rendered(Snapshot(overview={**OVERVIEW, "jobs": jobs}, in_progress=SHOWN * (row,), letters=letters, letter_count=1_234))
    assert "and 950 more: <code>extents jobs list</code>" in text
    assert "and 1,184 older ones: <code>extents dead-letters list</code>" in text


def test_a_viewer_sees_no_controls():
    """A viewer gets the same rows without buttons."""
    letter = Letter("0/1", "video.encoded", "poison", "broken", None, datetime.now(UTC))
    rejection = {
        "id": "r",
        "rejection_type": "queue_full",
        "rejection_message": "50",
        "video_id": "v" * 36,
        "created_at": None,
        "acknowledged": False,
    }
    progress = dict.fromkeys(("items", "completed", "found", "failed", "rejected", "gpu_seconds"), 0)
    replay = {"replay_id": "nightly", "state": "running", "progress": progress, "max_cost_usd": None, "reason": None}
    snapshot = Snapshot(overview=OVERVIEW, letters=(letter,), letter_count=1, rejections=(rejection,), replays=(replay,))
    operators, viewers = rendered(snapshot), rendered(snapshot, Role.VIEWER)
    for label in ("Acknowledge", "Redrive", "Discard", "Pause", "Cancel"):
        assert f">{label}</button>" in operators
    assert "<button" not in viewers
    assert "<form" not in viewers
