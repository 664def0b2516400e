"""The runbook shows the real output of commands."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cli.operations.replays.plan import plan_facts
from cli.operations.status import status_facts
from cli.shared.output import print_facts

TESTS = Path(__file__).parents[1]
SNAPSHOTS = TESTS / "cli" / "snapshots"
PAGE = TESTS.parent / "docs" / "operations.md"


def status_example() -> dict[str, Any]:
    """A busy service, as ``extents status --json`` describes it."""
    now = datetime.now(UTC)

    def jobs(priority: str, status: str, count: int, age: timedelta) -> dict[str, Any]:
        return {"priority": priority, "status": status, "count": count, "oldest_at": (now - age).isoformat()}

    return {
        "at": datetime(2026, 11, 28, 12, tzinfo=UTC),
        "groups": {
            "coordinator": {"state": "Stable", "members": [{}] * 2, "lag": {"video.encoded": 0}},
            "gpu-worker": {"state": "Stable", "members": [{}] * 4, "lag": {"inference.work.high": 0, "inference.work.low": 61}},
        },
        "jobs": [
            jobs("high", "queued", 3, timedelta(seconds=125)),
            jobs("high", "running", 2, timedelta(seconds=90)),
            jobs("low", "queued", 18, timedelta(minutes=65)),
        ],
        "last_hour": {"completed": 212, "failed": 1, "decisions": {"found": 17, "rejected": 3}},
        "dead_letters": 1,
        "unacknowledged_rejections": 3,
        "replays": [{"replay_id": "new-model", "state": "running", "reason": None}],
        "model": {"version": "builtin-5f0c1a2b", "reason": "built in"},
        "today": {"gpu_seconds": 1.91 * 3600, "cost_usd": 1.91 * 1.10, "budget_usd": None},
    }


def plan_example() -> dict[str, Any]:
    """A plan over rejected videos, as ``extents replay plan --json`` describes it."""
    pairs = 60_818_709
    return {
        "replay_id": "limit",
        "looked_at": 300,
        "videos": 291,
        "items": 291,
        "exist": 0,
        "force": False,
        "model_version": "builtin-5f0c1a2b",
        "priority": "low",
        "pairs": pairs,
        "gpu_hours": pairs / 100 / 3600,
        "estimated_cost_usd": pairs / 100 / 3600 * 1.10,
        "pairs_per_second_last_hour": 50.0,
        "estimated_seconds": pairs / 50,
    }


def outputs() -> dict[str, str]:
    """The page's output of each command that has one."""
    found = {}
    for block in re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL):
        for command, output in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE):
            if output:
                found[command] = output
    return found


def test_every_output_is_what_its_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    """Each output is equal to its command's test snapshot, or to what its code prints for the example above."""
    expected = {
        "extents quote 36000": (SNAPSHOTS / "quote.txt").read_text(),
        "extents why 3f2b8c1e-0d4a-4c57-9a61-7b1f0c2d9e55": (SNAPSHOTS / "why-rejected.txt").read_text(),
    }
    for command, facts in (
        ("extents status", status_facts(status_example())),
        ("extents replay plan --rejected frame_count_exceeded --from 1d --name limit", plan_facts(plan_example())),
    ):
        print_facts(facts)
        expected[command] = capsys.readouterr().out
    assert outputs() == expected
