"""Cutting a strip from a decoded picture gives the same as converting the whole picture and then cutting."""

from pathlib import Path

import av
import numpy as np
import pytest

from inference.media.box import CropBox
from inference.media.film import Film, open_film, upright
from inference.media.strips import Cutter

QUARTER_TURNS = {0: (1, 0, 0, 1), 90: (0, -1, 1, 0), 180: (-1, 0, 0, -1), 270: (0, 1, -1, 0)}


def write_noise(path: Path, pixel_format: str = "yuv420p", codec: str = "ffv1") -> None:
    """Write three pictures of 96x64 of coloured noise, in which a shift by one pixel changes every value."""
    noise = np.random.default_rng(1)
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, pixel_format
        for _ in range(3):
            picture = np.kron(noise.integers(0, 256, (8, 12, 3)), np.ones((8, 8, 1))).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def turn(path: Path, degrees: int) -> None:
    """Store a rotation in an MP4's header."""
    content = bytearray(path.read_bytes())
    a, b, c, d = (value * 65536 for value in QUARTER_TURNS[degrees])
    matrix = content.index(b"tkhd") + 4 + 40
    content[matrix : matrix + 36] = np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], ">i4").tobytes()
    path.write_bytes(content)


def first(film: Film) -> av.VideoFrame:
    return next(film.frames()).picture


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p", "yuv444p", "gray", "bgr0"])
@pytest.mark.parametrize("box", [CropBox(8, 40, 88, 60), CropBox(7, 41, 90, 63), CropBox(0, 0, 96, 64)])
def test_a_strip_is_the_same_part_of_the_whole_picture(tmp_path: Path, pixel_format: str, box: CropBox) -> None:
    """For every pixel format and box, no value differs from converting the whole picture."""
    write_noise(tmp_path / "film.mkv", pixel_format)
    with open_film(tmp_path / "film.mkv") as film:
        frame = first(film)
        cutter = Cutter(film, box)
        strip = cutter.strip(cutter.cut(frame))
        assert np.array_equal(strip, upright(frame)[box.top : box.bottom, box.left : box.right])


def test_deep_colour_is_cut_alike_but_for_its_rim(tmp_path: Path) -> None:
    """Ten-bit pictures are cut the same except in the first and last row, whose chroma depends on the rows around the cut."""
    write_noise(tmp_path / "film.mkv", "yuv420p10le")
    box = CropBox(16, 16, 88, 48)
    with open_film(tmp_path / "film.mkv") as film:
        frame = first(film)
        cutter = Cutter(film, box)
        whole = upright(frame)[box.top : box.bottom, box.left : box.right].astype(int)
        apart = np.abs(cutter.strip(cutter.cut(frame)) - whole)
        assert apart[1:-1].max() <= 1


@pytest.mark.parametrize("degrees", QUARTER_TURNS)
def test_a_turned_film_is_cut_as_it_is_shown(tmp_path: Path, degrees: int) -> None:
    """The box lies in the upright picture, for each of the four rotations that a phone may store."""
    write_noise(tmp_path / "film.mp4", codec="mpeg4")
    turn(tmp_path / "film.mp4", degrees)
    box = CropBox(4, 8, 60, 28)
    with open_film(tmp_path / "film.mp4") as film:
        frame = first(film)
        cutter = Cutter(film, box)
        cut = cutter.cut(frame)
        whole = upright(frame)[box.top : box.bottom, box.left : box.right]
        assert np.array_equal(cutter.strip(cut), whole)
        assert np.abs(cutter.scaled(cut, box.height, box.width).astype(int) - whole).mean() < 2
        assert cutter.luma(cut, 1000, 1000).shape == whole.shape[:2]
        assert film.rotation % 360 == -degrees % 360 or film.rotation % 360 == degrees


def test_luma_is_thinned_out_to_what_is_asked_for(tmp_path: Path) -> None:
    """A large strip's luma is thinned to evenly spread pixels, within the requested size."""
    write_noise(tmp_path / "film.mkv", "gray")
    with open_film(tmp_path / "film.mkv") as film:
        frame = first(film)
        cutter = Cutter(film, CropBox(0, 0, 96, 64))
        luma = cutter.luma(cutter.cut(frame), 16, 50)
        assert luma.shape == (16, 48)
        assert np.array_equal(luma, frame.to_ndarray(format="gray8")[::4, ::2])
