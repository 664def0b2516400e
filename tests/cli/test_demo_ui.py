"""``extents demo --ui``: the live page over the demo, open until Ctrl-C, with examples to look at."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import httpx

from tests.cli.demo_processes import MARK, left_over, stack_folders, wait_until_gone
from tests.cli.processes import clean_environment, command
from tests.patience import HANGS_AFTER, Deadline
from tests.signals import heed_signals

WAIT_SECONDS = 120


def test_the_page_stays_open_until_ctrl_c(tmp_path: Path) -> None:
    """The printed address and token open the page; it shows each example, the paused replay can be resumed, and Ctrl-C leaves nothing."""
    before, mark = stack_folders(), str(tmp_path)
    with subprocess.Popen(
        command("demo", "--ui"),
        cwd=tmp_path,
        env=clean_environment({MARK: mark}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_signals,
    ) as demo:
        assert demo.stderr is not None
        lines = []
        for line in demo.stderr:
            lines.append(line)
            if "Ctrl-C ends everything" in line:
                break
        output = "".join(lines)
        address, token = (re.search(rf"^{name}: +(\S+)$", output, re.MULTILINE) for name in ("live page", "token"))
        assert address is not None, output
        assert token is not None, output
        with httpx.Client(base_url=address[1].removesuffix("/"), follow_redirects=True, timeout=30) as page:
            home = page.post("/login", data={"token": token[1]}).text
            for shown in ("frame count exceeded", "span failed", "once-more", "paused", "completed", "failed"):
                assert shown in home, shown
            form_token = re.search(r'name="form_token" value="(\w+)"', home)
            assert form_token is not None
            replay = page.post("/replays/once-more/resume", data={"form_token": form_token[1]}).text
            deadline = Deadline(WAIT_SECONDS)
            while "1 completed" not in replay:
                assert not deadline.passed, replay
                time.sleep(0.5)
                replay = page.get("/replays/once-more").text
        os.kill(demo.pid, signal.SIGINT)
        output, _ = demo.communicate(timeout=HANGS_AFTER)
    assert demo.returncode == 0
    assert "16 of 16 exact" in output
    wait_until_gone(mark)
    assert left_over(mark) == []
    assert stack_folders() <= before
