"""Films are sampled at 10 Hz by their timestamps, as a player shows them."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import CorruptInputError
from inference.media.film import Timed, open_film, sample

MS = Fraction(1, 1000)
GREY_STEP = 8  # codecs change a grey by less than half of this


def write_film(path: Path, starts_ms: Sequence[int], sound_ms: int = 0, clock_offset: str = "0") -> None:
    """Write a film of 64x48 whose k-th picture is grey of level 8 k, shown from ``starts_ms[k]``; silent if sound_ms is 0."""
    with av.open(path, "w", options={"output_ts_offset": clock_offset}) as container:
        stream = container.add_stream("mpeg4", rate=25, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = MS
        if sound_ms:
            sound = container.add_stream("mp2", rate=16000, layout="mono")
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 16 * sound_ms), np.int16), format="s16", layout="mono")
            samples.sample_rate, samples.pts = 16000, 0
            container.mux([*sound.encode(samples), *sound.encode(None)])
        for index, start in enumerate(starts_ms):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), index * GREY_STEP, np.uint8), format="rgb24")
            frame.pts, frame.time_base = start, MS
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def shown(path: Path) -> list[int]:
    """Return the number of the ``write_film`` picture at each tenth of a second."""
    with open_film(path) as film:
        return [round(float(picture.mean()) / GREY_STEP) for picture in film.pictures()]


def test_a_film_of_constant_rate_shows_the_picture_that_has_last_started(
    tmp_path: Path,
) -> None:
    """At 25 pictures a second, the sample at 0.1 s is picture 2, and the one at 0.2 s is picture 5, which starts just then."""
    write_film(tmp_path / "film.mkv", range(0, 1000, 40))
    assert shown(tmp_path / "film.mkv") == [0, 2, 5, 7, 10, 12, 15, 17, 20, 22]


def test_a_film_of_variable_rate_is_sampled_by_time_not_by_count(
    tmp_path: Path,
) -> None:
    """A picture that stays long is sampled several times, and one that comes and goes between two samples is not sampled."""
    write_film(tmp_path / "film.mkv", [0, 30, 60, 500, 900, 1000])
    assert shown(tmp_path / "film.mkv")[:11] == [0, 2, 2, 2, 2, 3, 3, 3, 3, 4, 5]


def test_the_clock_starts_where_the_container_starts(tmp_path: Path) -> None:
    """A recording whose timestamps begin at 1.4 s gives the same pictures as a file that begins at 0."""
    write_film(tmp_path / "film.ts", range(0, 1000, 40), clock_offset="1.4")
    with av.open(tmp_path / "film.ts") as container:
        assert container.start_time == 1_400_000
    assert shown(tmp_path / "film.ts") == [0, 2, 5, 7, 10, 12, 15, 17, 20, 22]


def test_pictures_that_begin_after_the_sound_keep_their_time(tmp_path: Path) -> None:
    """A first picture at 0.5 s is repeated for the half second before it, so that captions keep the times that a player shows."""
    write_film(tmp_path / "film.mkv", [500, 700, 800], sound_ms=500)
    assert shown(tmp_path / "film.mkv")[:9] == [0, 0, 0, 0, 0, 0, 0, 1, 2]


def test_a_rotated_film_is_turned_as_players_turn_it(tmp_path: Path) -> None:
    """A phone's upright film, stored on its side, is read as 48 wide and 64 high, with the stored bottom as its left edge."""
    path = tmp_path / "film.mp4"
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stored = np.zeros((48, 64, 3), np.uint8)
        stored[32:] = 255
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(stored, format="rgb24")))
        container.mux(stream.encode(None))
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40
    content[matrix : matrix + 36] = np.array([0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30], ">i4").tobytes()
    path.write_bytes(content)
    with open_film(path) as film:
        picture = next(film.pictures())
        assert (film.width, film.height) == (48, 64)
    assert picture.shape == (64, 48, 3)
    assert picture[:, :14].min() > 200
    assert picture[:, 18:].max() < 50


def test_a_file_that_is_no_film_is_named(tmp_path: Path) -> None:
    """A text file is rejected by name."""
    (tmp_path / "notes.mp4").write_text("no film at all")
    with (
        pytest.raises(CorruptInputError, match=r"notes\.mp4: this is text, not a video"),
        open_film(tmp_path / "notes.mp4"),
    ):
        pass


def test_a_colon_in_a_name_is_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A film is opened even if its name contains a colon or a percent sign."""
    write_film(tmp_path / "Return: part 2 100%d.mkv", range(0, 400, 40))
    monkeypatch.chdir(tmp_path)
    assert len(shown(Path("Return: part 2 100%d.mkv"))) == 4


def test_a_film_that_breaks_off_in_noise_says_where(tmp_path: Path) -> None:
    """Undecodable data up to the end gives an error with the last time reached, not a short film."""
    path = tmp_path / "film.mp4"
    write_film(path, range(0, 1200, 40))
    with av.open(path) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    for packet in packets[10:]:
        assert packet.pos is not None
        content[packet.pos : packet.pos + packet.size] = b"\xff" * packet.size
    path.write_bytes(content)
    with pytest.raises(CorruptInputError, match=r"film\.mp4: cannot be decoded after 0\.4 s: "):
        shown(path)


def test_a_file_of_sound_alone_is_refused(tmp_path: Path) -> None:
    """A file without a video stream is rejected for that reason."""
    with av.open(tmp_path / "song.mkv", "w") as container:
        sound = container.add_stream("mp2", rate=16000, layout="mono")
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.int16), format="s16", layout="mono")
        samples.sample_rate = 16000
        container.mux([*sound.encode(samples), *sound.encode(None)])
    with (
        pytest.raises(CorruptInputError, match="no video stream"),
        open_film(tmp_path / "song.mkv"),
    ):
        pass


def test_a_clock_that_jumps_is_refused(tmp_path: Path) -> None:
    """A timestamp two hours later gives an error, not 72,000 copies of one picture."""
    write_film(tmp_path / "film.mkv", [0, 40, 7_200_000])
    with pytest.raises(CorruptInputError, match=r"clock jumps from 0\.0 s to 7200\.0 s"):
        shown(tmp_path / "film.mkv")


@given(
    st.lists(
        st.fractions(Fraction(1, 500), Fraction(1), max_denominator=500),
        min_size=1,
        max_size=20,
    )
)
def test_every_sample_is_the_picture_on_show(durations: list[Fraction]) -> None:
    """Sample i is the picture shown at i / 10 s, and samples run to the end of the last picture."""
    starts = [sum(durations[:index], Fraction(0)) for index in range(len(durations) + 1)]
    pictures = [Timed(start, stop - start, index) for index, (start, stop) in enumerate(pairwise(starts))]
    taken = list(sample(pictures))
    assert all(starts[picture] <= Fraction(i, 10) < starts[picture + 1] for i, picture in enumerate(taken))
    assert Fraction(len(taken) - 1, 10) < starts[-1] <= Fraction(len(taken), 10)
