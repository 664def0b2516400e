"""Where frames are stored and how they are cut into spans, tested against the definition."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.frames import chunk_name, plan_chunks, plan_span, plan_spans, span_chunks, span_count

FRAME_COUNTS = st.one_of(st.integers(2, 3000), st.sampled_from([2, 32, 33, 511, 512, 513, 514, 1024, 1025, 1026, 1537]))


def level_by_definition(frame: int) -> int:
    if frame % 16 == 0:
        return 16
    return 4 if frame % 4 == 0 else 1


@given(st.integers(1, 3000))
def test_every_frame_is_stored_once_where_its_index_says(frame_count):
    """Each frame is in exactly one chunk, at the level of its index, and a level's frames ascend."""
    chunks = plan_chunks(frame_count)
    assert Counter(frame for chunk in chunks for frame in chunk.frames) == Counter(range(frame_count))
    assert all(level_by_definition(frame) == chunk.level for chunk in chunks for frame in chunk.frames)
    for level in (16, 4, 1):
        stored = [frame for chunk in chunks if chunk.level == level for frame in chunk.frames]
        assert stored == sorted(stored)


@given(st.integers(1, 3000))
def test_only_the_last_chunk_of_a_level_is_short(frame_count):
    """Chunks hold 32 frames; only the last of a level may hold fewer, and none is empty."""
    chunks = plan_chunks(frame_count)
    for level in (16, 4, 1):
        sizes = [len(chunk.frames) for chunk in chunks if chunk.level == level]
        assert all(size == 32 for size in sizes[:-1])
        assert all(1 <= size <= 32 for size in sizes[-1:])


def test_a_chunk_is_named_by_its_level_and_first_frame():
    """A chunk's name is its level, and its first frame in ten digits."""
    assert chunk_name(16, 512) == "modulo_16/chunk_0000000512.webm"
    assert [chunk.name for chunk in plan_chunks(6)] == [
        "modulo_16/chunk_0000000000.webm",
        "modulo_4/chunk_0000000004.webm",
        "modulo_1/chunk_0000000001.webm",
    ]


@given(FRAME_COUNTS)
def test_spans_hold_every_pair_once(frame_count):
    """The spans' pairs are 0 to frame_count - 2, each once and in order, with at most 512 in a span."""
    spans = plan_spans(frame_count)
    assert [pair for span in spans for pair in range(span.first_pair, span.last_pair + 1)] == list(range(frame_count - 1))
    assert all(1 <= span.pair_count <= 512 for span in spans)
    assert all(span.first_pair == 512 * index == 512 * span.index for index, span in enumerate(spans))
    assert all(list(span.frames) == list(range(span.first_pair, span.last_pair + 2)) for span in spans)
    assert spans == [plan_span(index, frame_count) for index in range(span_count(frame_count))]


@pytest.mark.parametrize(
    ("frame_count", "pairs"),
    [
        (2, [1]),
        (512, [511]),
        (513, [512]),
        (514, [512, 1]),
        (1025, [512, 512]),
        (1026, [512, 512, 1]),
    ],
)
def test_spans_at_the_edges(frame_count, pairs):
    """A new span begins with the first pair that does not fit into the earlier spans."""
    assert [span.pair_count for span in plan_spans(frame_count)] == pairs


@given(FRAME_COUNTS)
def test_a_spans_chunks_hold_its_frames_and_are_chunks_of_the_video(frame_count):
    """A span reads whole chunks of the plan, each once, which together hold all of its frames."""
    planned = set(plan_chunks(frame_count))
    for span in plan_spans(frame_count):
        chunks = span_chunks(span, frame_count)
        assert len(set(chunks)) == len(chunks)
        assert planned.issuperset(chunks)
        assert {frame for chunk in chunks for frame in chunk.frames}.issuperset(span.frames)


@given(FRAME_COUNTS)
def test_a_span_reads_no_chunk_it_does_not_need(frame_count):
    """Every chunk that a span reads holds at least one of its frames."""
    for span in plan_spans(frame_count):
        expected = set(span.frames)
        assert all(expected.intersection(chunk.frames) for chunk in span_chunks(span, frame_count))


@pytest.mark.parametrize("frame_count", [512, 513, 1025, 1026])
def test_a_full_span_is_one_and_three_and_twelve_chunks(frame_count):
    """A full span is 1 + 3 + 12 whole chunks, and one more if another span follows."""
    chunks = span_chunks(plan_span(0, frame_count), frame_count)
    counts = Counter(chunk.level for chunk in chunks)
    assert counts == {16: 1 if frame_count == 512 else 2, 4: 3, 1: 12}
    assert all(len(chunk.frames) == 32 for chunk in chunks[:16])


@pytest.mark.parametrize("frame_count", [-5, 0, 1])
def test_too_few_frames_have_no_pair(frame_count):
    """A video of one frame has no pair, and the error gives the number of frames."""
    with pytest.raises(ValueError, match=f"{frame_count} frames"):
        plan_spans(frame_count)


@pytest.mark.parametrize(("index", "frame_count"), [(-1, 600), (2, 600), (1, 513), (0, 1), (0, 0)])
def test_a_span_that_a_video_does_not_have_is_refused(index, frame_count):
    """A span outside the video gives an error, never an empty or negative span."""
    with pytest.raises(ValueError, match=f"span {index} of a video of {frame_count} frames"):
        plan_span(index, frame_count)


def test_a_video_without_frames_has_no_chunks_to_plan():
    """A plan for no frames gives an error."""
    with pytest.raises(ValueError, match="0 frames"):
        plan_chunks(0)
