"""Several films give their results in order, with each error in its place, and end promptly if the caller stops."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cli.film.finding.film_run import FilmRun
from cli.film.finding.find_films import run_films
from cli.film.finding.still_file import StillFile
from core.errors import CorruptInputError, ExtentsError
from inference.finding.stills import Still
from inference.finding.zone import Zone
from inference.media.box import CropBox

FILMS = [Path(f"{number}.mp4") for number in range(8)]


def run_of(video: Path) -> FilmRun:
    return FilmRun(video, [], None, 0, 0.0, [])


@pytest.mark.parametrize("jobs", [1, 3])
def test_results_and_errors_come_in_the_order_of_the_films(jobs: int) -> None:
    """A film that cannot be read gives its error in its place, and the others their results."""

    def work(video: Path, check: Callable[[], None]) -> FilmRun:
        if video == FILMS[2]:
            raise CorruptInputError("2.mp4: cannot be read")
        return run_of(video)

    results = dict(run_films(FILMS, work, jobs))
    assert list(results) == FILMS
    assert [video for video, result in results.items() if isinstance(result, ExtentsError)] == [FILMS[2]]


def test_one_job_begins_a_film_when_the_one_before_is_taken() -> None:
    """With one job, a film begins in the main thread only when its result is requested."""
    begun: list[Path] = []

    def work(video: Path, check: Callable[[], None]) -> FilmRun:
        assert threading.current_thread() is threading.main_thread()
        begun.append(video)
        return run_of(video)

    results = run_films(FILMS, work, 1)
    next(results)
    assert begun == FILMS[:1]
    results.close()
    assert begun == FILMS[:1]


def test_closing_ends_the_films_that_run_and_begins_no_other() -> None:
    """Closing the results stops running films at their next check and starts no others."""
    begun: list[Path] = []

    def work(video: Path, check: Callable[[], None]) -> FilmRun:
        begun.append(video)
        while video != FILMS[0]:
            check()
            time.sleep(0.01)
        return run_of(video)

    results = run_films(FILMS, work, 2)
    next(results)
    results.close()
    assert len(begun) <= 3
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("film")]


def test_stills_wait_on_disk_without_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest still that shares frames with a caption is returned unchanged, and the file that holds stills has no name."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    zone = Zone("bottom", CropBox(0, 0, 4, 2))
    pictures = [np.full((2, 4, 3), level, np.uint8) for level in (10, 20, 30)]
    with StillFile() as kept:
        for picture, (first, last) in zip(pictures, [(0, 5), (6, 30), (31, 33)], strict=True):
            kept.add(zone, Still(first, last, picture))
        assert list(tmp_path.iterdir()) == []
        assert kept.longest("top", 0, 40) is None
        assert kept.longest("bottom", 34, 40) is None
        data = kept.longest("bottom", 4, 32)
    assert data is not None
    (tmp_path / "still.png").write_bytes(data)
    with Image.open(tmp_path / "still.png") as still:
        assert np.array_equal(np.asarray(still), pictures[1])
