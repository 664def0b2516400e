"""Runs the command for the tests of this folder, and makes the small film that they use."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import av
import numpy as np
import pytest

from cli.main import main


@dataclass(frozen=True, slots=True)
class Finished:
    status: int
    out: str
    err: str


RunCommand = Callable[..., Finished]


@pytest.fixture
def extents(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunCommand:
    """Run ``extents`` with these arguments in this process, as its entry point does."""

    def run(*arguments: str | Path) -> Finished:
        monkeypatch.setattr(sys, "argv", ["extents", *map(str, arguments)])
        with patch.dict(os.environ), pytest.raises(SystemExit) as ended:  # a command may set variables for itself
            main()
        output = capsys.readouterr()
        code = ended.value.code
        return Finished(code if isinstance(code, int) else int(code is not None), output.out, output.err)

    return run


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of 320x240 pixels at 25 pictures a second, with a band at the bottom that brightens."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for index in range(50):
            picture = np.full((240, 320, 3), 60, np.uint8)
            picture[200:] = 60 + 3 * index
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path
