"""Everything readable in a broken film is read, with a warning about the rest; for a file that is not a film the error gives the reason."""

import os
import re
import threading
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from core.errors import CorruptInputError
from inference.media.film import open_film
from inference.media.no_films import REASONS


def write_film(path: Path, pictures: int = 60, rate: int = 30, **options: str) -> None:
    """Write a film of grey pictures, each 4 levels brighter than the one before, in groups of ten."""
    with av.open(path, "w", options=options) as container:
        stream = container.add_stream("mpeg4", rate=rate, options={"bf": "0", "g": "10"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(pictures):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), 4 * index % 256, np.uint8), format="rgb24")))
        container.mux(stream.encode(None))


def spoil(path: Path, *numbers: int) -> None:
    """Overwrite the content of these packets."""
    with av.open(path) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    for number in numbers:
        packet = packets[number]
        assert packet.pos is not None
        content[packet.pos : packet.pos + packet.size] = b"\xff" * packet.size
    path.write_bytes(content)


def read(path: Path) -> tuple[int, list[str]]:
    """Return the number of samples at 10 Hz, and the warnings."""
    warnings: list[str] = []
    with open_film(path, warnings.append) as film:
        return sum(1 for _ in film.pictures()), warnings


def test_a_whole_film_warns_of_nothing(tmp_path: Path) -> None:
    """Two seconds give twenty samples and no warning."""
    write_film(tmp_path / "film.mp4")
    assert read(tmp_path / "film.mp4") == (20, [])


def test_a_packet_that_cannot_be_decoded_costs_no_more_than_itself(tmp_path: Path) -> None:
    """A packet that cannot be decoded leaves the film's length as it is, and the warning gives its time."""
    write_film(tmp_path / "film.mp4")
    spoil(tmp_path / "film.mp4", 33)
    samples, warnings = read(tmp_path / "film.mp4")
    assert samples == 20
    assert len(warnings) == 1
    assert re.search(r"film\.mp4: a packet near 0:00:01\.[12] cannot be decoded and was skipped", warnings[0])


def test_many_bad_packets_are_counted_and_the_first_named(tmp_path: Path) -> None:
    """Many bad packets give one sentence of warning, with their number and the times of the first."""
    write_film(tmp_path / "film.mp4")
    spoil(tmp_path / "film.mp4", *range(20, 27))
    samples, warnings = read(tmp_path / "film.mp4")
    assert samples == 20
    assert re.search(r"7 packets, near 0:00:00\.7, 0:00:00\.8( and|,) .*later, cannot be decoded and were skipped", warnings[0])


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_a_film_that_is_cut_short_is_warned_of_with_both_times(tmp_path: Path, ending: str) -> None:
    """An incomplete download is read up to where it ends, with a warning that gives both times."""
    path = tmp_path / f"film.{ending}"
    options = {"movflags": "faststart"} if ending == "mp4" else {}
    write_film(path, pictures=120, **options)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    samples, warnings = read(path)
    assert 15 <= samples <= 30
    assert len(warnings) == 1
    assert f"its pictures end at 0:00:0{samples // 10}." in warnings[0]
    assert "its header says 0:00:04.0: it was cut short" in warnings[0]


def test_sound_that_outlasts_the_picture_is_no_damage(tmp_path: Path) -> None:
    """Sound that is longer than the picture gives no warning."""
    with av.open(tmp_path / "film.mp4", "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("aac", rate=16000, layout="mono")
        for _ in range(10):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 16 * 5000), np.float32), format="fltp", layout="mono")
        samples.sample_rate = 16000
        container.mux([*sound.encode(samples), *sound.encode(None)])
    assert read(tmp_path / "film.mp4") == (10, [])


def test_files_that_are_no_films_say_what_they_are(tmp_path: Path) -> None:
    """The error distinguishes an empty file, a text, an MP4 without its index, and noise."""
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "notes.mp4").write_text("These are notes – and no film.\n" * 400)
    write_film(tmp_path / "film.mp4")
    content = (tmp_path / "film.mp4").read_bytes()
    (tmp_path / "unfinished.mp4").write_bytes(content[: content.index(b"moov") - 4])
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    for name, words in (
        ("empty", "the file is empty"),
        ("notes", "this is text, not a video"),
        ("unfinished", r"an MP4 without its index \(moov\)"),
        ("noise", "cannot be read as a video"),
    ):
        with pytest.raises(CorruptInputError, match=rf"{name}\.mp4: {words}"), open_film(tmp_path / f"{name}.mp4"):
            pass


@pytest.mark.parametrize("ending", ["txt", "nfo", "asc", "ans", "art", "idf"])
def test_text_is_no_film_whatever_its_name(tmp_path: Path, ending: str) -> None:
    """A text is refused even if its name makes FFmpeg draw its letters as pictures."""
    (tmp_path / f"notes.{ending}").write_text("These are notes, and no film.\n" * 400)
    with pytest.raises(CorruptInputError, match=rf"notes\.{ending}: this is text, not a video"), open_film(tmp_path / f"notes.{ending}"):
        pass


@pytest.mark.parametrize(("name", "words"), [("still.png", "a still picture"), ("still.jpg", "a still picture"), ("x.cdg", "a karaoke CD")])
def test_what_ffmpeg_takes_for_pictures_is_named(tmp_path: Path, name: str, words: str) -> None:
    """Stills and files that FFmpeg knows by their name only are refused with the reason."""
    if name.startswith("still"):
        Image.new("RGB", (64, 48)).save(tmp_path / name)
    else:
        (tmp_path / name).write_bytes(bytes(range(256)) * 400)
    with pytest.raises(CorruptInputError, match=words), open_film(tmp_path / name):
        pass


def test_every_refused_format_is_one_of_ffmpegs() -> None:
    """Each format name in the list is a demuxer of this FFmpeg, so none is misspelt."""
    assert REASONS.keys() <= av.formats_available


def test_a_pipe_says_what_it_waits_for(tmp_path: Path) -> None:
    """A pipe without a writer gives a message, and is read once a writer comes."""
    write_film(tmp_path / "film.mkv")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    announced = threading.Event()
    warnings: list[str] = []

    def warn(message: str) -> None:
        warnings.append(message)
        announced.set()

    def write() -> None:
        announced.wait()
        pipe.write_bytes((tmp_path / "film.mkv").read_bytes())

    writer = threading.Thread(target=write)
    writer.start()
    with open_film(pipe, warn) as film:
        assert sum(1 for _ in film.pictures()) == 20
    writer.join()
    assert warnings == [f"{pipe} is a pipe: waiting for a program that writes a film to it"]
