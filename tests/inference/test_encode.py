"""A film becomes chunks of strips in the documented layout."""

import io
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from core.errors import CorruptInputError, PermanentError
from core.frames import plan_chunks
from core.types import Anchor
from inference.media.encode import CropBox, encode_film
from tests.inference.webm import decode_chunk

WIDTH, HEIGHT = 320, 240


class Memory(dict[str, bytes]):
    def write(self, name: str, content: bytes) -> None:
        assert name not in self, "each chunk comes once"
        self[name] = content


def still(index: int) -> npt.NDArray[np.uint8]:
    """Draw a picture that shows its number in its lower part: a bar as wide as the number."""
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[:, :] = 40, 80, 160
    picture[200:, : index + 1] = 230, 120, 40
    return picture


def write_film(path: Path, count: int) -> Path:
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=10, options={"qscale": "1"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.bit_rate = 8_000_000
        for index in range(count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(still(index), format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_every_frame_is_in_its_place(tmp_path: Path) -> None:
    """The chunks are those of the layout, and each frame of the film is at its documented place with its colours."""
    film, sink, crop = (
        write_film(tmp_path / "film.mp4", 150),
        Memory(),
        CropBox(0, 201, 301, 240),
    )
    encoded = encode_film(film, crop, Anchor.LEFT, sink)
    assert encoded.frame_count == 150
    chunks = plan_chunks(150)
    assert sorted(sink) == sorted(chunk.name for chunk in chunks)
    for chunk in chunks:
        strips = decode_chunk(chunk.name, sink[chunk.name], len(chunk.frames))
        for index, strip in zip(chunk.frames, strips, strict=True):
            assert strip.shape == (39, 301, 3), "odd sides stay as they are"
            bar = int((strip[20, :, 0] > 135).sum())
            assert abs(bar - (index + 1)) <= 2
            assert np.abs(strip[20, 200:].astype(int) - (40, 80, 160)).max() < 16, "colours survive the codec"


def test_the_layout_says_what_was_cut_out(tmp_path: Path) -> None:
    """Crop, anchor and frame size are those of the call and the film; the visualisation has the strip's size."""
    film = write_film(tmp_path / "film.mp4", 20)
    layout = encode_film(film, CropBox(10, 200, 111, 231), Anchor.RIGHT, Memory()).layout
    assert (
        layout.crop_left,
        layout.crop_top,
        layout.crop_right,
        layout.crop_bottom,
    ) == (10, 200, 111, 231)
    assert (layout.frame_width, layout.frame_height, layout.anchor) == (
        WIDTH,
        HEIGHT,
        Anchor.RIGHT,
    )
    image = Image.open(io.BytesIO(layout.ocr_image))
    assert (image.size, image.mode) == ((101, 31), "RGB")


def test_the_visualisation_is_bright_where_edges_recur(tmp_path: Path) -> None:
    """The visualisation is bright where the film has edges, and dark elsewhere."""
    film = write_film(tmp_path / "film.mp4", 33)
    layout = encode_film(film, CropBox(0, 205, 300, 240), Anchor.LEFT, Memory()).layout
    columns = np.asarray(Image.open(io.BytesIO(layout.ocr_image)).convert("L")).mean(axis=0)
    assert columns[:40].max() > 100
    assert columns[60:].max() < 20


def test_the_same_film_gives_the_same_bytes(tmp_path: Path) -> None:
    """Chunks and layout depend only on the film, not on time or chance."""
    film, first, second = write_film(tmp_path / "film.mp4", 60), Memory(), Memory()
    crop = CropBox(0, 180, 320, 240)
    assert encode_film(film, crop, Anchor.CENTER, first) == encode_film(film, crop, Anchor.CENTER, second)
    assert first == second


def test_chunks_are_handed_on_as_they_fill(tmp_path: Path) -> None:
    """Each level's chunk is written when its 32nd frame arrives, so memory does not grow with the film."""
    held: list[int] = []
    sink = Memory()

    def on_progress(done: int, total: int | None) -> None:
        held.append(done - sum(len(chunk.frames) for chunk in plan_chunks(150) if chunk.name in sink))

    encode_film(
        write_film(tmp_path / "film.mp4", 150),
        CropBox(0, 200, 320, 240),
        Anchor.CENTER,
        sink,
        on_progress,
    )
    assert max(held) <= 3 * 32


@pytest.mark.parametrize(
    "crop",
    [
        CropBox(0, 0, 321, 10),
        CropBox(0, 0, 10, 241),
        CropBox(-1, 0, 5, 10),
    ],
)
def test_a_box_outside_the_frame_is_refused_with_the_frames_size(tmp_path: Path, crop: CropBox) -> None:
    """The error gives the frame size that the box must fit in."""
    with pytest.raises(PermanentError, match="320x240"):
        encode_film(write_film(tmp_path / "film.mp4", 3), crop, Anchor.CENTER, Memory())


@pytest.mark.parametrize("crop", [CropBox(5, 0, 5, 10), CropBox(0, 10, 20, 9)])
def test_an_empty_box_is_refused(crop: CropBox) -> None:
    """The error for a box whose edges meet or cross gives their required order."""
    with pytest.raises(PermanentError, match="left < right and top < bottom"):
        crop.check_within(WIDTH, HEIGHT)


@pytest.mark.parametrize("crop", [CropBox(5, 0, 6, 1), CropBox(0, 10, 200, 15), CropBox(0, 0, 5, 100)])
def test_a_box_without_room_for_letters_is_refused(crop: CropBox) -> None:
    """The error for a box in which no letter can be read gives its size and the smallest one."""
    with pytest.raises(PermanentError, match=rf"{crop.width}x{crop.height} pixels, too small for letters; expected at least 6x6"):
        crop.check_within(WIDTH, HEIGHT)


def test_a_box_that_could_not_be_read_back_is_refused() -> None:
    """A strip larger than decoding allows is rejected before anything is written, with the largest allowed size."""
    with pytest.raises(PermanentError, match="4096x1024"):
        CropBox(0, 0, 100, 1025).check_within(2000, 2000)


def test_one_strip_is_too_few(tmp_path: Path) -> None:
    """A film of one picture is rejected, since it has no pair to compare."""
    with pytest.raises(CorruptInputError, match="1 frame at 10 Hz"):
        encode_film(
            write_film(tmp_path / "film.mp4", 1),
            CropBox(0, 0, 20, 20),
            Anchor.CENTER,
            Memory(),
        )
