"""A chunk's frames are counted without decoding them."""

from pathlib import Path

import pytest

from core.errors import CorruptInputError
from core.frames import plan_chunks
from inference.media.chunk_length import count_frames

CHUNKS = Path(__file__).parents[1] / "data" / "conformance" / "spans-center" / "cropped_frames_v1"


def test_every_chunk_of_a_stored_video_is_counted() -> None:
    """Full chunks count 32 frames, and the last chunks of each level as many as the layout says."""
    for chunk in plan_chunks(530):
        assert count_frames(chunk.name, (CHUNKS / chunk.name).read_bytes()) == len(chunk.frames)


@pytest.mark.parametrize("size", [0, 20, 400])
def test_what_holds_no_frames_is_named(size: int) -> None:
    """An empty file, a truncated header and a header without frames give an error that names the chunk."""
    content = (CHUNKS / "modulo_1" / "chunk_0000000001.webm").read_bytes()[:size]
    with pytest.raises(CorruptInputError, match=r"^modulo_1/chunk_0000000001\.webm: "):
        count_frames("modulo_1/chunk_0000000001.webm", content)
