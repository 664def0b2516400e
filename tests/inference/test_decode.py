"""Chunks are decoded to frames exactly; everything else is rejected by name, within bounded memory."""

import itertools
import subprocess
import sys

import numpy as np
import pytest

from core.errors import CorruptInputError
from inference.engine.predictor import Frames
from inference.media.decode import MAX_HEIGHT, MAX_WIDTH
from tests.inference.conformance import DATA, chunk_bytes
from tests.inference.webm import claim_size, decode_chunk, encode, encoded_packets, mux, random_frames
from tests.patience import HANGS_AFTER

NAME = "modulo_16/chunk_0000000000.webm"


@pytest.fixture(scope="module")
def stored() -> bytes:
    """A chunk of 32 frames, 402×28, as the encoder made it."""
    return chunk_bytes("spans-center")[NAME]


@pytest.mark.parametrize("size", [(28, 402), (27, 401), (27, 402), (1, 2), (100, 1440)], ids=str)
def test_frames_come_back_in_order(size: tuple[int, int]) -> None:
    """Every frame is decoded in its place, as RGB, within the error of lossy coding."""
    frames = random_frames(6, *size)
    decoded = decode_chunk(NAME, encode(frames), 6)
    assert decoded.shape == frames.shape
    assert decoded.dtype == np.uint8
    distances = [[np.abs(a.astype(int) - b).mean() for b in frames] for a in decoded]
    assert np.argmin(distances, axis=1).tolist() == list(range(6))


@pytest.mark.parametrize("tags", [(1, 1), (5, 2)], ids=["BT.709", "full range"])
@pytest.mark.parametrize("size", [(28, 64), (27, 64), (27, 63)], ids=str)
def test_colour_tags_change_nothing(size: tuple[int, int], tags: tuple[int, int]) -> None:
    """All files are converted as limited-range BT.601, which the models were trained with, whatever their tags say."""
    packets = encoded_packets(random_frames(2, *size))
    plain, tagged = (mux(packets, size[1], size[0], colour=colour) for colour in (None, tags))
    assert tagged != plain
    assert (decode_chunk(NAME, tagged, 2) == decode_chunk(NAME, plain, 2)).all()


def test_chroma_is_interpolated_as_the_models_learned_it() -> None:
    """A strip of odd height is converted to the same bytes as OpenCV 4.10 gave for this file."""
    expected = np.load(DATA / "odd-height" / "opencv-4.10.npy")
    assert (decode_chunk(NAME, (DATA / "odd-height" / "chunk.webm").read_bytes(), len(expected)) == expected).all()


def test_only_the_frames_needed_are_decoded(stored: bytes) -> None:
    """A chunk of which one frame is needed is read no further, and that frame is the same as in a whole decode."""
    assert (decode_chunk(NAME, stored, 32, needed=1) == decode_chunk(NAME, stored, 32)[:1]).all()
    assert decode_chunk(NAME, stored[: len(stored) // 2], 32, needed=1).shape[0] == 1


@pytest.mark.parametrize(("expected", "message"), [(31, "more than the 31 frames"), (33, "32 frames, 33 expected")])
def test_a_wrong_number_of_frames_is_refused(stored: bytes, expected: int, message: str) -> None:
    """The error distinguishes too many frames from too few, and names the chunk."""
    with pytest.raises(CorruptInputError, match=f"^{NAME}: .*{message}"):
        decode_chunk(NAME, stored, expected)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a readable WebM"),
        (b"\x1a\x45\xdf\xa3", "not a readable WebM"),
        (b"not a film " * 100, "not a readable WebM"),
        (encode(random_frames(2, 28, 64), codec="libvpx", container="webm"), "codec vp8, expected vp9"),
        (encode(random_frames(2, 32, 64), codec="mpeg4", container="mp4"), "not a readable WebM"),
    ],
    ids=["empty", "magic alone", "text", "VP8", "MP4"],
)
def test_what_is_no_webm_with_vp9_is_refused(data: bytes, message: str) -> None:
    """Other contents, containers and codecs give an error that names the chunk."""
    with pytest.raises(CorruptInputError, match=f"^{NAME}: {message}"):
        decode_chunk(NAME, data, 2)


def decode_or_refuse(data: bytes) -> Frames | str:
    """Return the frames of a chunk of 32, or the message of its rejection."""
    try:
        return decode_chunk(NAME, data, 32)
    except CorruptInputError as error:
        return str(error)


def test_a_truncated_chunk_never_decodes_to_something_else(stored: bytes) -> None:
    """A chunk that is cut off anywhere is rejected, unless only the index after the frames is missing."""
    whole = decode_chunk(NAME, stored, 32)
    for length in itertools.chain(range(0, len(stored), 997), range(len(stored) - 60, len(stored))):
        outcome = decode_or_refuse(stored[:length])
        assert outcome.startswith(NAME) if isinstance(outcome, str) else (outcome == whole).all(), f"cut at {length} of {len(stored)}"


def test_a_damaged_chunk_raises_nothing_else(stored: bytes) -> None:
    """A chunk with any changed bytes gives 32 frames or an error that names the chunk."""
    random = np.random.default_rng(1)
    outcomes = []
    for _ in range(150):
        damaged = bytearray(stored)
        for place in random.integers(0, 600, 3):  # in headers, where a byte has the largest effect
            damaged[place] = random.integers(256)
        outcomes.append(decode_or_refuse(bytes(damaged)))
    refusals = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert all(refusal.startswith(NAME) for refusal in refusals)
    assert len(refusals) > 10


def test_a_size_that_changes_is_refused() -> None:
    """A chunk with frames of two sizes is rejected with both sizes."""
    data = encode(random_frames(2, 28, 64), random_frames(2, 40, 96))
    with pytest.raises(CorruptInputError, match=r"frame 2 is 96×40, the ones before it 64×28"):
        decode_chunk(NAME, data, 4)


def test_a_frame_larger_than_the_limit_is_refused() -> None:
    """A frame wider than the limit is rejected with its size and the limit, even if it has no more pixels than allowed."""
    wide = claim_size(encoded_packets(random_frames(1, 64, 64))[0], MAX_WIDTH + 8, 64)
    with pytest.raises(CorruptInputError, match=rf"frames of {MAX_WIDTH + 8}×64; .* {MAX_WIDTH}×{MAX_HEIGHT}"):
        decode_chunk(NAME, mux([wide], MAX_WIDTH + 8, 64), 1)


@pytest.mark.parametrize("side", [14_000, 65_536])
def test_memory_is_bounded_whatever_a_frame_claims(side: int) -> None:
    """A VP9 frame that claims a huge size in a file that claims 64×64 is rejected before memory is allocated for it."""
    huge = claim_size(encoded_packets(random_frames(1, 64, 64))[0], side, side)
    program = (
        "import sys\n"
        "from core.errors import CorruptInputError\n"
        "from inference.media.decode import decode_frames\n"
        "def peak(): return int(next(l for l in open('/proc/self/status') if l.startswith('VmPeak')).split()[1])\n"
        "data, before = sys.stdin.buffer.read(), peak()\n"
        "try:\n"
        "    list(decode_frames('huge', data, 1))\n"
        "except CorruptInputError as error:\n"
        "    print(peak() - before, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], input=mux([huge], 64, 64), capture_output=True, check=True, timeout=HANGS_AFTER)
    grown_kib, message = done.stdout.decode().split(" ", 1)
    assert message.startswith("huge: ")
    assert int(grown_kib) < 64 * 1024  # the frame would take 280 MiB, or six GiB
