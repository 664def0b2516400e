"""The suite's own rule: a test that could run on this machine must not be skipped."""

import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"


@pytest.mark.parametrize(
    ("mark", "status"),
    [
        ("@pytest.mark.skip(reason='no broker here')", 1),
        ("@pytest.mark.skip(reason='needs a CUDA GPU')", 0),
        ("", 0),
    ],
)
def test_a_skipped_test_fails_the_run(tmp_path, mark, status):
    """A run with a skipped test ends with status 1 and names it, unless the reason is missing hardware."""
    (tmp_path / "conftest.py").write_text(CONFTEST.read_text())
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = gpu\n")
    (tmp_path / "test_it.py").write_text(f"import pytest\n\n\n{mark}\ndef test_it():\n    pass\n\n\ndef test_other():\n    pass\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert run.returncode == status, run.stdout + run.stderr
    assert ("must not be skipped: test_it.py::test_it: Skipped: no broker here" in run.stdout) == (status == 1)
