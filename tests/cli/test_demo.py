"""``extents demo``: a film runs through the service, every caption is exact, and no process is left."""

import json
from pathlib import Path

from devstack.paths import STACKS
from storage.run_db_reader import read_run_db
from tests.cli.demo_processes import MARK, left_over, stack_folders, wait_until_gone
from tests.cli.processes import run_extents


def test_the_demo_finds_every_caption(tmp_path: Path) -> None:
    """The demo ends with status 0, exact captions, matching rows and a readable run database, ignores other settings, and cleans up."""
    (tmp_path / ".env").write_text("KAFKA_SECURITY_PROTOCOL=SSL\nEXTENTS_QUEUE_LIMIT=1\nEXTENTS_KEY_RUN_DB=wrong\n")
    before = stack_folders()
    done = run_extents("demo", "--json", folder=tmp_path, env={MARK: str(tmp_path), "EXTENTS_TOPIC_PREFIX": "elsewhere."})
    assert done.stdout, done.stderr
    output = json.loads(done.stdout)
    wait_until_gone(str(tmp_path))
    assert stack_folders() <= before

    assert output["event"]["name"] == "inference.completed"
    assert [row["good"] for row in output["rows"]] == [True, True]
    assert output["run_db"] == "demo/run.db"
    assert sorted(path.name for path in (tmp_path / "demo").iterdir()) == ["film.mp4", "run.db"]
    database = read_run_db((tmp_path / "demo" / "run.db").read_bytes(), "run.db")
    assert database.run_id == output["event"]["body"]["run_id"]
    extents = [[caption.first_frame, caption.last_frame] for caption in database.track.captions]
    assert extents == [finding["found"] for finding in output["comparison"] if finding["found"]]
    shown = run_extents("show", "demo/run.db", folder=tmp_path)
    assert shown.returncode == 0
    assert f"Captions ({len(extents)})" in shown.stdout

    assert [finding for finding in output["comparison"] if not finding["exact"]] == []
    assert [finding["truth"] for finding in output["comparison"]] == extents
    assert len(extents) == 16
    assert (output["good"], done.returncode) == (True, 0)


def test_a_kept_stack_is_not_overwritten(tmp_path: Path) -> None:
    """A demo that would overwrite a kept stack starts nothing, and gives the command that deletes the stack."""
    kept = STACKS / "demo"
    made = not kept.exists()
    kept.mkdir(parents=True, exist_ok=True)
    try:
        done = run_extents("demo", "--keep-stack", folder=tmp_path, env={MARK: str(tmp_path)})
    finally:
        if made:
            kept.rmdir()
    assert (done.returncode, done.stdout) == (1, "")
    assert "extents dev down --name demo --purge" in done.stderr
    assert left_over(str(tmp_path)) == []
