"""A long film is searched by its key pictures alone."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from inference.media.glimpses import glimpse

SECONDS, RATE = 90, 2


def write_film(path: Path, codec: str, options: dict[str, str]) -> Path:
    """Write a film of pictures that each have a brightness of their own, with a key picture every ten seconds."""
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for number in range(SECONDS * RATE):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def key_pictures(path: Path) -> dict[float, float]:
    """Decode the whole film; return the mean brightness of its key pictures by time."""
    with av.open(path) as container:
        begins = (container.start_time or 0) / av.time_base
        frames = [frame for frame in container.decode(video=0) if frame.key_frame]
        return {frame.time - begins: frame.to_ndarray(format="rgb24").mean() for frame in frames}


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("film.mp4", "libx264", {"g": "20", "sc_threshold": "0", "bf": "3"}),
        ("film.mkv", "libx264", {"g": "20", "sc_threshold": "0", "bf": "3"}),
        ("film.webm", "libvpx-vp9", {"g": "20", "keyint_min": "20", "lag-in-frames": "10", "cpu-used": "8"}),
        ("film.avi", "mpeg4", {"g": "20"}),
    ],
)
@pytest.mark.parametrize("count", [4, 96])
def test_key_pictures_are_given_once_each(tmp_path: Path, name: str, codec: str, options: dict[str, str], count: int) -> None:
    """Key pictures are spread over the film in order, each with its own content and time; none is returned twice."""
    path = write_film(tmp_path / name, codec, options)
    keys = key_pictures(path)
    pictures = {seconds: frame.to_ndarray(format="rgb24").mean() for seconds, frame in glimpse(path, count)}
    assert list(pictures) == sorted(pictures)
    assert pictures.items() <= keys.items()
    assert len(pictures) >= min(count, SECONDS // 10)
