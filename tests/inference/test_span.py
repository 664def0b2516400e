"""A span's frames are in order, whichever chunk arrives first."""

import asyncio
import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import CorruptInputError, MissingObjectError
from core.frames import plan_chunks, plan_span, plan_spans
from inference.media.span import SpanAssembly, decode_span
from tests.inference.conformance import chunk_bytes
from tests.inference.webm import encode, random_frames

HEIGHT, WIDTH = 16, 16


def stored_video(frame_count: int) -> dict[str, bytes]:
    """Encode a video whose frame i is one flat grey that stands for i, as chunks by name."""
    return {chunk.name: encode(np.stack([_flat(i) for i in chunk.frames])) for chunk in plan_chunks(frame_count)}


def _flat(i: int) -> np.ndarray:
    return np.full((HEIGHT, WIDTH, 3), i * 37 % 256, np.uint8)  # neighbours differ by 37, more than coding loses


def assert_frames(frames: np.ndarray, wanted: range) -> None:
    assert len(frames) == len(wanted)
    greys = frames.mean(axis=(1, 2, 3))
    expected = np.array([i * 37 % 256 for i in wanted])
    assert np.abs(greys - expected).max() < 8


@settings(max_examples=8, deadline=None)
@given(frame_count=st.integers(2, 70))
def test_frames_are_in_their_places(frame_count: int) -> None:
    """Each frame is at its index, for any number of frames."""
    span = plan_span(0, frame_count)
    assert_frames(decode_span(span, frame_count, stored_video(frame_count)), span.frames)


def test_consecutive_spans_share_a_frame() -> None:
    """The last frame of a span is the first of the next, though the span reads only that frame of its chunk."""
    chunks = chunk_bytes("spans-center")
    first, second = (decode_span(span, 530, chunks) for span in plan_spans(530))
    assert (len(first), len(second)) == (513, 18)
    assert (first[-1] == second[0]).all()


async def test_chunks_may_arrive_in_any_order() -> None:
    """Chunks decoded by several threads in any order give the same frames as all at once."""
    chunks, span = chunk_bytes("spans-center"), plan_span(0, 530)
    assembly = SpanAssembly(span, 530)
    arriving = list(assembly.chunks)
    random.Random(0).shuffle(arriving)
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(3) as pool:
        await asyncio.gather(*(loop.run_in_executor(pool, assembly.decode, chunk, chunks[chunk.name]) for chunk in arriving))
    assert (assembly.frames() == decode_span(span, 530, chunks)).all()


def test_a_span_is_measured_by_its_first_frame() -> None:
    """The memory for a span is known from its first frame, and a chunk with larger frames is rejected afterwards."""
    chunks, span = chunk_bytes("spans-center"), plan_span(0, 530)
    assembly = SpanAssembly(span, 530)
    first, second, *_ = assembly.chunks
    assert assembly.measure(chunks[first.name]) == 513 * 28 * 402 * 3
    with pytest.raises(CorruptInputError, match=rf"^{second.name}: frames of 804×56, but {first.name} has 402×28"):
        assembly.decode(second, encode(random_frames(len(second.frames), 56, 804)))
    for chunk in assembly.chunks:
        assembly.decode(chunk, chunks[chunk.name])
    assert (assembly.frames() == decode_span(span, 530, chunks)).all()


def test_a_missing_chunk_is_named() -> None:
    """If a chunk is missing, the error names it, and says how many chunks there should be."""
    chunks = stored_video(40)
    del chunks["modulo_4/chunk_0000000004.webm"]
    with pytest.raises(MissingObjectError, match=r"^modulo_4/chunk_0000000004\.webm: .* 1 of 3 are missing"):
        decode_span(plan_span(0, 40), 40, chunks)


def test_two_frame_sizes_are_refused() -> None:
    """A chunk of another size than the span's first is named with both sizes."""
    chunks = stored_video(40)
    name = "modulo_1/chunk_0000000001.webm"
    count = next(len(chunk.frames) for chunk in plan_chunks(40) if chunk.name == name)
    chunks[name] = encode(random_frames(count, 20, 32))
    with pytest.raises(CorruptInputError, match=rf"^{name}: frames of 32×20, but \S+ has 16×16"):
        decode_span(plan_span(0, 40), 40, chunks, threads=1)
