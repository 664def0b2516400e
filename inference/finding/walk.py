"""Reads a film once and cuts its zones out of each picture, in a separate thread: decoding goes on while the network computes."""

import queue
import threading
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from core.types import FRAMES_PER_SECOND
from inference.arrays import Frames
from inference.finding.boundaries import Moment
from inference.finding.cuts import Cuts
from inference.finding.zone import Zone
from inference.media.film import Film, count_samples
from inference.media.strips import Cutter

SAMPLES: Final = 64
"""Samples per batch: enough for the network to be fast, and a few seconds of film to keep in memory."""

_LUMA_ROWS, _LUMA_COLUMNS = 48, 480  # maximum size of the pictures in which boundaries are located
_STILL_EVERY: Final = 2  # samples: every second sample of a stretch is kept at full size for reading
_AHEAD: Final = 2  # batches decoded in advance


@dataclass(slots=True)
class Cuttings:
    """A batch's data for one zone.

    Attributes:
        strips: one per sample, RGB, in the network's size.
        moments: one per picture of the film.
        stills: by sample's index, RGB of the film's own pixels; empty unless requested.
    """

    strips: list[Frames] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)
    stills: dict[int, Frames] = field(default_factory=dict)


@dataclass(slots=True)
class Batch:
    """Consecutive samples of a film. ``zones`` has the order of the requested zones.

    Attributes:
        end: when the last picture's time is over, in seconds.
        cuts: when the first picture after each cut begins, in seconds.
    """

    first_sample: int
    zones: list[Cuttings]
    end: float = 0.0
    cuts: list[float] = field(default_factory=list)

    @property
    def samples(self) -> int:
        return len(self.zones[0].strips) if self.zones else 0


def walk(film: Film, zones: Sequence[Zone], strip_size: tuple[int, int] | None, *, stills: bool) -> Generator[Batch, None, None]:
    """Yield the film's batches in order. Memory does not grow with the film.

    Args:
        strip_size: height and width that the network resizes strips to; None keeps them as they are.
        stills: also keep strips of full size.

    Raises:
        CorruptInputError: as ``Film.frames``.
    """
    batches: queue.Queue[Batch | BaseException | None] = queue.Queue(_AHEAD)
    stopped = threading.Event()

    def put(item: Batch | BaseException | None) -> None:
        while not stopped.is_set():
            try:
                return batches.put(item, timeout=0.2)
            except queue.Full:
                continue

    def produce() -> None:
        try:
            for batch in _batches(film, zones, strip_size, stills=stills):
                put(batch)
                if stopped.is_set():
                    return
            put(None)
        except BaseException as error:  # raised again for the consumer of the batches
            put(error)

    thread = threading.Thread(target=produce, name="decode", daemon=True)
    thread.start()
    try:
        while (item := batches.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join()


def _batches(film: Film, zones: Sequence[Zone], strip_size: tuple[int, int] | None, *, stills: bool) -> Iterator[Batch]:
    cutters = [Cutter(film, zone.box) for zone in zones]
    cuts = Cuts(film)
    batch = Batch(0, [Cuttings() for _ in zones])
    sample = 0
    for timed, samples in count_samples(film.frames()):
        if cuts.is_cut(timed.picture):
            batch.cuts.append(float(timed.start))
        for cutter, cuttings in zip(cutters, batch.zones, strict=True):
            cut = cutter.cut(timed.picture)
            cuttings.moments.append(Moment(float(timed.start), cutter.luma(cut, _LUMA_ROWS, _LUMA_COLUMNS)))
            if samples:
                strip = cutter.strip(cut) if strip_size is None else cutter.scaled(cut, *strip_size)
                cuttings.strips += [np.ascontiguousarray(strip)] * samples
            for index in range(sample, sample + samples):
                if stills and index % _STILL_EVERY == 0:
                    cuttings.stills[index] = np.ascontiguousarray(cutter.strip(cut))
        sample += samples
        batch.end = float(timed.end)
        if batch.samples >= SAMPLES:
            yield batch
            batch = Batch(sample, [Cuttings() for _ in zones])
    yield batch


def about_samples(film: Film) -> int | None:
    """Estimate the number of samples; None if the container does not give a duration."""
    return None if film.duration_seconds is None else round(film.duration_seconds * FRAMES_PER_SECOND)
