"""The video that checkpoints are evaluated on: a folder of chunks, or a film that is encoded like the service's videos."""

from pathlib import Path

from cli.film.finding.film_run import Wanted, look
from cli.film.local_video import LocalVideo, open_folder, open_memory
from cli.shared.output import progress, remark
from core.errors import CorruptInputError, PermanentError
from core.types import Anchor
from inference.engine.predictor import Predictor
from inference.finding.zone import Crop, Zone
from inference.media.encode import encode_film


def open_video(path: Path, crop: Crop | None, anchor: Anchor | None, predictor: Predictor) -> LocalVideo:
    """Open a folder of chunks, or encode a film in memory: half an hour takes some 10 MB.

    Args:
        crop: of a film; None to find where its captions are.
        predictor: finds the captions' place.

    Raises:
        CorruptInputError, MissingObjectError: the folder or the film cannot be read.
        PermanentError: the film has no captions or several zones of them, or the crop box lies outside the picture.
    """
    if path.is_dir():
        return open_folder(path, None)
    zone = _zone(path, crop, anchor, predictor)
    chunks = _Chunks()
    with progress("encoding", "frames") as report:
        encoded = encode_film(path, zone.box, zone.anchor, chunks, report, remark)
    return open_memory(encoded.layout, encoded.frame_count, chunks.by_name)


def _zone(path: Path, crop: Crop | None, anchor: Anchor | None, predictor: Predictor) -> Zone:
    """Choose the strip to cut out, in the same way as ``extents find`` does."""
    if path.is_fifo():
        raise CorruptInputError(
            f"{path}: a pipe can be read only once, but the film is searched before it is encoded: write it to a file first"
        )
    zones, _ = look(path, Wanted((crop,) if crop else (), anchor), predictor)
    if len(zones) != 1:
        listed = "".join(f"; --crop {zone.box} is the {zone.name}" for zone in zones)
        raise PermanentError(f"{path}: {len(zones)} zones hold captions, expected one: choose it with --crop{listed}")
    return zones[0]


class _Chunks:
    """Keeps chunks by name."""

    def __init__(self) -> None:
        self.by_name: dict[str, bytes] = {}

    def write(self, name: str, content: bytes) -> None:
        self.by_name[name] = content
