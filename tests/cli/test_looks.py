"""How commands look in a terminal of 100 columns, from rows as the database and the brokers give them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cli.operations.comparing.models import print_models
from cli.operations.replays.status import print_replay
from cli.operations.requests.rejections import print_summary
from cli.operations.status import print_status
from cli.operations.usage import month_usage, print_usage
from tests.cli.snapshots import assert_looks_like
from tests.cli.status_examples import busy, deserted, gpu, idle

COLUMNS = 100


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(COLUMNS))


def assert_fits(text: str) -> None:
    assert max(len(line.rstrip()) for line in text.splitlines()) <= COLUMNS


@pytest.mark.parametrize("example", [busy, idle, deserted], ids=lambda example: example.__name__)
def test_the_status_of_a_service(example: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Workers are shown with what they wait for, including those that are gone; without workers, the command to start one is named."""
    print_status(example())
    shown = capsys.readouterr().out
    assert_fits(shown)
    assert_looks_like(f"status-{example.__name__}", shown)


def test_of_many_workers_those_that_want_attention_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Twenty workers of a role are shown, the ready ones last; the others are counted."""
    status = busy()
    status["workers"] = [gpu(f"gpu-{number}:1", 100.0, 0.9, 3) for number in range(60)]
    status["workers"].append(gpu("gpu-60:1", 0.0, 0.0, 0, waits=("group: a rebalance is under way",)))
    print_status(status)
    shown = capsys.readouterr().out
    assert "60 ready, 1 waiting; 4 in the group; 6000 pairs/s, 89% busy, 180 spans in hand" in shown
    table = shown.partition("GPU worker ")[2].splitlines()[1:]
    assert table[0].split()[:2] == ["gpu-60:1", "waiting"]
    assert table[20:] == ["and 41 more: --json has all", "gpu-60:1 waits for group: a rebalance is under way"]


def test_heartbeats_that_cannot_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    """If heartbeats cannot be read, the reason is shown, the workers are counted by their groups only, and everything else is shown."""
    print_status({**busy(), "workers": [], "heartbeats_error": "no topic inference.workers on the brokers at kafka:9092"})
    shown = capsys.readouterr().out
    assert "coordinators   2 in the group\n" in shown
    assert "heartbeats     cannot be read: no topic inference.workers" in shown


def usage_of(by: str) -> dict[str, Any]:
    """The usage of two days; no hours of workers were recorded on the first day."""
    first = datetime(2026, 11, 1, tzinfo=UTC)

    def computed(name: str, runs: int, hours: float) -> dict[str, Any]:
        seconds = hours * 3600
        return {"name": name, "runs": runs, "failed": 1, "pairs": int(100 * seconds), "gpu_seconds": seconds, "wall_seconds": 1.5 * seconds}

    days = [computed("2026-11-26", 198, 19.4), computed("2026-11-27", 212, 21.2)]
    models = [computed("builtin-5f0c1a2b", 400, 38.0), computed("mrn0fkfd", 10, 2.6)]
    up = [
        {"day": "2026-11-27", "device": "NVIDIA A10G, 22 GiB", "workers": 2, "up_seconds": 40 * 3600.0},
        {"day": "2026-11-28", "device": "NVIDIA A10G, 22 GiB", "workers": 2, "up_seconds": 8 * 3600.0},
        {"day": "2026-11-28", "device": "AMD EPYC 9R14 96-Core Processor, 2 threads", "workers": 1, "up_seconds": 1800.0},
    ]
    return month_usage(first, by, days if by == "day" else models, days, up, 1.10)


@pytest.mark.parametrize("by", ["day", "model"])
def test_the_usage_of_a_month(by: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Busy hours and up hours are shown; the idle share covers only days on which the workers' hours are known."""
    usage = usage_of(by)
    print_usage(usage)
    shown = capsys.readouterr().out
    assert_fits(shown)
    assert_looks_like(f"usage-{by}", shown, moments=False)
    total = usage["total"]
    assert (total["runs"], total["gpu_seconds"], total["up_seconds"]) == (410, pytest.approx(40.6 * 3600), 48.5 * 3600)
    assert total["idle_share"] == pytest.approx(1 - 21.2 / 48.5)
    assert total["up_cost_usd"] == pytest.approx(48.5 * 1.10)
    if by == "day":
        assert [row["idle_share"] for row in usage["rows"]] == [None, pytest.approx(1 - 21.2 / 40), 1.0]


def test_a_month_without_anything(capsys: pytest.CaptureFixture[str]) -> None:
    """A month without data says that no hours are known, and causes no division by zero."""
    usage = month_usage(datetime(2026, 1, 1, tzinfo=UTC), "day", [], [], [], 1.10)
    print_usage(usage)
    assert capsys.readouterr().out.splitlines()[-1].startswith("up     not known")
    assert usage["total"]["idle_share"] is None


VIDEOS = [f"3f2b8c1e-0d4a-4c57-9a61-7b1f0c2d9e{number:02}" for number in range(3)]


def replay(**fields: Any) -> dict[str, Any]:
    plain = {
        "replay_id": "new-model",
        "created_by": "mia",
        "created_at": "2026-11-28T12:00:00+00:00",
        "state": "running",
        "reason": None,
        "model_version": "mrn0fkfd-2",
        "force": False,
        "rate_per_minute": 30,
        "in_flight_limit": 20,
        "until_at": "2026-11-29T06:00:00+00:00",
        "max_cost_usd": 20.0,
        "sample": None,
    }
    return {**plain, **fields}


def progress(**fields: Any) -> dict[str, Any]:
    states = dict.fromkeys(("waiting", "undecided", "found", "rejected", "unfinished", "completed", "failed"), 0)
    counts = {**states, **fields}
    begun = {"gpu_seconds": 3600.0, "open_usd": 0.5, "first_sent_at": (datetime.now(UTC) - timedelta(minutes=10)).isoformat()}
    return {"items": sum(counts.values()), **begun, **counts}


def test_a_replay_that_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """The status shows progress, cost, remaining time and failures."""
    message = "frame_count is 250000; the limit is 200000 (EXTENTS_MAX_FRAME_COUNT)"
    troubles = [
        {"video_id": VIDEOS[0], "run_id": None, "decision": "rejected", "status": None, "message": message},
        {"video_id": VIDEOS[1], "run_id": "9a617b1f-x", "decision": "run", "status": "failed", "message": "span 3: no WebM file"},
    ]
    print_replay(replay(), progress(waiting=140, undecided=1, unfinished=9, completed=130, found=18, rejected=1, failed=1), troubles, 1.10)
    shown = capsys.readouterr().out
    assert_fits(shown)
    assert_looks_like("replay-status-running", shown, moments=False)


def test_a_replay_that_its_sample_has_paused(capsys: pytest.CaptureFixture[str]) -> None:
    """The status gives the reason, and the worst videos, each with the command that compares its runs."""
    worst = [
        {"video_id": video, "change": 0.5, "moved": 12, "added": 3, "lost": 1, "before": "1" * 36, "after": "2" * 36} for video in VIDEOS
    ]
    reason = f"9.5% of 840 captions changed in the sample, more than 2.0%; most in video {VIDEOS[0]}: extents replay status new-model"
    sample = {"videos": 20, "compared": 20, "captions": 840, "change": 0.095, "worst": worst}
    print_replay(replay(state="paused", reason=reason, sample=sample), progress(waiting=280, completed=20), [], 1.10)
    shown = capsys.readouterr().out
    assert_fits(shown)
    assert_looks_like("replay-status-paused", shown, moments=False)


def test_the_summary_of_rejections(capsys: pytest.CaptureFixture[str]) -> None:
    """Rejections are counted by day and type, with the setting that would change them if there is one."""
    types = ("frame_count_exceeded", "queue_full", "rate_limited", "validation_failed")
    print_summary([{"day": "2026-11-28", "rejection_type": kind, "total": 300, "unacknowledged": 12, "videos": 291} for kind in types])
    shown = capsys.readouterr().out
    assert_fits(shown)
    assert_looks_like("rejections-summary", shown)


def test_the_comparison_of_two_models(capsys: pytest.CaptureFixture[str]) -> None:
    """The videos that changed most are listed with the runs to compare."""
    rows = [
        {"video_id": video, "change": 0.5, "captions": 30, "moved": 12, "added": 3, "lost": 0, "before": "1" * 36, "after": "2" * 36}
        for video in VIDEOS
    ]
    print_models(("builtin-5f0c1a2b", "mrn0fkfd-2"), 0.5, 90, rows)
    shown = capsys.readouterr().out
    assert_fits(shown)
    assert_looks_like("compare-models", shown)
