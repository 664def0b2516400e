"""``extents demo`` that is killed or interrupted."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.demo_processes import MARK, left_over, stack_folders, wait_until_gone
from tests.cli.processes import clean_environment, command
from tests.patience import HANGS_AFTER
from tests.signals import heed_signals


@pytest.mark.parametrize(("number", "moment"), [(signal.SIGKILL, "workers ready"), (signal.SIGINT, "encoding the film")])
def test_nothing_outlives_the_demo(tmp_path: Path, number: signal.Signals, moment: str) -> None:
    """If the demo is killed or interrupted, its servers and workers stop, and the stack's folder is removed."""
    before, mark = stack_folders(), str(tmp_path)
    with subprocess.Popen(
        command("demo"),
        cwd=tmp_path,
        env=clean_environment({MARK: mark}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_signals,
    ) as demo:
        assert demo.stderr is not None
        lines = []
        for line in demo.stderr:
            lines.append(line)
            if moment in line:
                break
        assert moment in lines[-1], "".join(lines)
        assert len(left_over(mark)) > 5
        os.kill(demo.pid, number)
        demo.communicate(timeout=HANGS_AFTER)
    assert demo.returncode == (128 + number if number is signal.SIGINT else -number)
    wait_until_gone(mark)
    assert stack_folders() <= before
    assert not (tmp_path / "demo" / "run.db").exists()
