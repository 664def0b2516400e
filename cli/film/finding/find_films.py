"""Runs ``find`` over films, one after the other or several at a time, and stops soon when it is interrupted."""

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Event

from cli.film.finding.film_run import FilmRun
from core.errors import ExtentsError

Check = Callable[[], None]
"""Raises ``CancelledError`` when the work should stop. A film calls it between two batches."""


def run_films(
    videos: Sequence[Path], work: Callable[[Path, Check], FilmRun], jobs: int
) -> Generator[tuple[Path, FilmRun | ExtentsError], None, None]:
    """Yield each film with its result, or with the error that prevented one, in the order given.

    With one job, films run in this thread, where Ctrl-C interrupts even the wait for a pipe, and a film starts only when the
    previous result has been taken. When the iterator is closed, films in other threads stop at their next batch, and no
    further film starts.
    """
    if jobs == 1:
        for video in videos:
            yield video, _attempt(partial(work, video, lambda: None))
        return
    stopped = Event()

    def check() -> None:
        if stopped.is_set():
            raise CancelledError

    with ThreadPoolExecutor(jobs, thread_name_prefix="film") as pool:
        running = [(video, pool.submit(work, video, check)) for video in videos]
        try:
            for video, future in running:
                yield video, _attempt(future.result)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            stopped.set()  # leaving the block waits for the films that have begun


def _attempt(result: Callable[[], FilmRun]) -> FilmRun | ExtentsError:
    try:
        return result()
    except ExtentsError as error:
        return error
