"""One film from the file to its captions: where to look, one pass, and the words if they are wanted."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from cli.shared.output import Report, remark
from core.errors import CorruptInputError
from core.types import FRAMES_PER_SECOND, Anchor
from inference.arrays import Frames
from inference.engine.predictor import Predictor
from inference.finding.found import FoundCaption, are_convincing, captions_of
from inference.finding.search import Sight, search
from inference.finding.stills import Still
from inference.finding.track import OnStill, follow
from inference.finding.walk import about_samples
from inference.finding.words import add_readings
from inference.finding.zone import Crop, Zone, name_zones
from inference.media.box import CropBox
from inference.media.film import open_film
from inference.reading.reader import Reader, Reading

_FAR_TOO_LARGE: Final = 1.3  # times as tall as the rows in which letters were seen
_NARROW: Final = 0.07  # of the picture's height: such a box holds one line with its margin, so there is nothing to narrow
PREVIEW_PICTURES: Final = 12
UNREAD: Final = "[unread]"
"""In place of the words of a caption that could not be read. Players reject a subtitle without any text."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Where to look in a film. Without ``crops``, its zones are found."""

    crops: Sequence[Crop] = ()
    anchor: Anchor | None = None
    preview_pictures: int = 0


@dataclass(frozen=True, slots=True)
class FilmRun:
    """The result for one film. ``captions`` of all zones, doubtful ones included, ascend in time.

    Attributes:
        frame_count: the samples that were compared; none if there is no zone.
        seconds: how long the film is; 0 if that is not known.
        has_words: whether captions have words, so that one without any could not be read.
    """

    path: Path
    zones: list[Zone]
    sight: Sight | None
    frame_count: int
    seconds: float
    captions: list[FoundCaption]
    has_words: bool = False

    def words(self, caption: FoundCaption) -> str | None:
        """What tables and subtitles say for a caption; None if captions have no words."""
        return caption.text or (UNREAD if self.has_words else None)


@dataclass(frozen=True, slots=True)
class Tools:
    """What processes films one after the other: the network, and a reader if captions are to be read."""

    predictor: Predictor
    reader: Reader | None = None


def run_film(path: Path, wanted: Wanted, tools: Tools, report: Report, on_still: OnStill | None = None) -> FilmRun:
    """Find a film's captions, and read them if there is a reader.

    Args:
        on_still: called with a still of each stretch that may be a caption.

    Raises:
        CorruptInputError: the file cannot be read as a film, or is shorter than two samples.
        PermanentError: a crop box lies outside the picture.
    """
    predictor, reader = tools.predictor, tools.reader
    if path.is_fifo():  # it can be read only once
        if not wanted.crops:
            raise CorruptInputError(
                f"{path}: a pipe can be read only once, but finding where the captions are takes a pass of its own: give --crop"
            )
        zones: list[Zone] = []
        sight: Sight | None = None
    else:
        zones, sight = look(path, wanted, predictor)
        if not zones:
            return FilmRun(path, [], sight, 0, _length(path), [])
    readings: dict[str, list[tuple[Still, Reading]]] = defaultdict(list)

    def take(zone: Zone, still: Still) -> None:
        if reader is not None:
            readings[zone.name].append((replace(still, picture=_NO_PICTURE), reader.read(still.picture)))
        if on_still is not None:
            on_still(zone, still)

    with open_film(path, remark) as film:
        zones = zones or _given(wanted, film.width, film.height)
        for zone in zones:
            zone.box.check_within(film.width, film.height)
        total = about_samples(film)
        tracks = follow(
            film, zones, predictor, lambda done: report(done, total), take if reader is not None or on_still is not None else None
        )
    if tracks[0].frame_count < 2:
        raise CorruptInputError(f"{path}: {tracks[0].frame_count} sample at {FRAMES_PER_SECOND} Hz; comparing pictures takes at least 2")
    captions: list[FoundCaption] = []
    for track in tracks:
        zone_captions = captions_of(track)
        if reader is not None:
            zone_captions = add_readings(zone_captions, readings[track.zone.name])
        if not wanted.crops and not are_convincing(zone_captions):
            zone_captions = [replace(caption, doubt=caption.doubt or "no caption of this zone is certain") for caption in zone_captions]
        captions += zone_captions
    captions.sort(key=lambda caption: (caption.start_seconds, caption.zone))
    return FilmRun(path, zones, sight, tracks[0].frame_count, tracks[0].end, captions, reader is not None)


_NO_PICTURE: Final[Frames] = np.zeros((1, 1, 3), np.uint8)


def look(path: Path, wanted: Wanted, predictor: Predictor, say: Callable[[str], None] = remark) -> tuple[list[Zone], Sight | None]:
    """Return the zones to follow: the given ones, narrowed to their letters if they are far too large, or those that are detected.

    Raises:
        CorruptInputError: the file cannot be read as a film.
        PermanentError: a crop box lies outside the picture.
    """
    if not wanted.crops:
        sight = search(path, predictor, samples=wanted.preview_pictures)
        zones = [replace(zone, anchor=wanted.anchor or zone.anchor) for zone in sight.zones]
        _say_found(path, zones, sight, say)
        return zones, sight
    with open_film(path, lambda message: None) as film:
        zones, height = _given(wanted, film.width, film.height), film.height
    if not wanted.preview_pictures and all(zone.box.fits_strip and zone.box.height <= _NARROW * height for zone in zones):
        return zones, None
    return _narrowed(path, zones, predictor, wanted, say)


def _length(path: Path) -> float:
    with open_film(path, lambda message: None) as film:
        return float(film.duration_seconds or 0)


def _given(wanted: Wanted, width: int, height: int) -> list[Zone]:
    boxes = [crop.box(width, height) for crop in wanted.crops]
    for box in boxes:
        box.check_inside(width, height)
    return name_zones(boxes, [wanted.anchor or Anchor.CENTER] * len(boxes), height)


def _narrowed(
    path: Path, zones: list[Zone], predictor: Predictor, wanted: Wanted, say: Callable[[str], None]
) -> tuple[list[Zone], Sight | None]:
    sight = search(path, predictor, [zone.box for zone in zones], samples=wanted.preview_pictures)
    narrowed: list[tuple[CropBox, Anchor]] = []
    for zone in zones:
        inside = [(box, other) for other in sight.zones if (box := _part(zone.box, other.box)) is not None]
        if inside and (not zone.box.fits_strip or zone.box.height > _FAR_TOO_LARGE * max(other.box.height for _, other in inside)):
            for box, other in inside:
                narrowed.append((box, wanted.anchor or other.anchor))
                say(f"{path}: crop {zone.box} is far larger than its letters; looking at {box} in it")
        else:
            narrowed.append((zone.box, zone.anchor))
    return name_zones([box for box, _ in narrowed], [anchor for _, anchor in narrowed], sight.height), sight


def _part(outer: CropBox, letters: CropBox) -> CropBox | None:
    """Return the part of a zone of letters that lies in a box; None if the middle of its height does not, or only its margin does."""
    left, right = max(outer.left, letters.left), min(outer.right, letters.right)
    if right - left < min(letters.width, letters.height) or not outer.top <= (letters.top + letters.bottom) / 2 < outer.bottom:
        return None
    return CropBox(left, max(outer.top, letters.top), right, min(outer.bottom, letters.bottom))


def _say_found(path: Path, zones: Sequence[Zone], sight: Sight, say: Callable[[str], None]) -> None:
    for zone in zones:
        say(f"{path}: captions at the {zone.name}, aligned {zone.anchor.value}: --crop {zone.box} of {sight.width}x{sight.height}")
    for box in sight.standing:
        say(f"{path}: the writing at {box} never changes; it counts as a logo, not as captions")
    if not zones:
        say(f"{path}: no captions seen in {sight.pictures} pictures; if there are some, say where with --crop")
