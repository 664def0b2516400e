"""A full disk: run databases are built in memory and need none, and a model that cannot be stored fails no run."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from inference.models.builtin import builtin_model_version
from tests.chaos import full_disk
from tests.chaos.figures import Report
from tests.chaos.load import Load
from tests.chaos.scale import Chaos
from tests.service.installation import Installation
from tests.service.models import push_model
from tests.service.videos import video

FULL = (errno.ENOSPC, errno.EFBIG)

PAIRS = 90_000
"""Of 2.5 hours, where SQLite would use a disk, if it may, to sort the index."""

BUILD = f"""
import os, pathlib
from storage.run_db import build_run_db
from tests.storage.finished_runs import fixed_run
try:
    pathlib.Path(os.environ["TMPDIR"], "x").write_bytes(bytes(2_000_000))
except OSError as error:
    print(error.errno)
print(len(build_run_db(fixed_run(pairs={PAIRS}))))
"""


def test_building_a_long_run_database(tmp_path: Path) -> None:
    """The database of a long video is built although nothing can be written."""
    done = subprocess.run(
        full_disk.command(tmp_path, sys.executable, "-c", BUILD), capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False
    )
    assert done.returncode == 0, done.stderr
    error, size_bytes = map(int, done.stdout.split())
    assert error in FULL, os.strerror(error)
    assert size_bytes > 300 * PAIRS


@pytest.mark.asyncio(loop_scope="module")
async def test_workers_without_room(service: Installation, chaos: Chaos, report: Report, tmp_path: Path) -> None:
    """Workers whose disk is full take requests, predict and finish. A model that must be kept there ends its worker, which
    says what is full, and the run is completed by one that has room."""
    extents = str(Path(sys.executable).parent / "extents")
    folders = [tmp_path / name for name in ("coordinator", "gpu")]
    for folder in folders:
        folder.mkdir()
    cramped = {"EXTENTS_MODEL_CACHE": str(folders[1] / "models"), "EXTENTS_COMPILE_CACHE": str(folders[1] / "compiled")}
    service.processes.command("coordinator", *full_disk.command(folders[0], extents, "worker", "coordinator"))
    gpu = service.processes.command("gpu", *full_disk.command(folders[1], extents, "worker", "gpu"), **cramped)
    version = "for-a-full-disk"
    await push_model(service, version)
    async with Load(service, chaos.rng) as load:
        easy = await load.publish([40] * chaos.of(full=10, short=1))
        for item in easy:
            assert (await service.ledger.outcome(item.published)).body["model_version"] == builtin_model_version()
        published = await service.submit(await service.add(video(40)), 40, model_version=version)
        assert await gpu.ended() == 1
        output = gpu.log.read_text()
        assert any(f"cannot be written: {os.strerror(number)}; EXTENTS_MODEL_CACHE must name" in output for number in FULL), output
        assert not [outcome for outcome in service.ledger.outcomes if outcome.answers(published.request_id)]
        service.processes.start("gpu", EXTENTS_MODEL_CACHE=str(tmp_path / "room"))
        outcome = await service.ledger.outcome(published)
        assert (outcome.name, outcome.body["model_version"]) == ("inference.completed", version)
    evidence = await service.verify_at_rest()
    assert not evidence.letters
    report.note(videos=len(evidence.outcomes))
