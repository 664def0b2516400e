"""From the records of a run to the finished run."""

import base64

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import PoisonError
from core.types import Outcome
from streams.policy.results import assemble, encode_probabilities, pack_span
from streams.policy.run_log import fold
from streams.policy.run_state import RunState
from tests.streams.run_logs import MOMENT, done, probabilities, started, taken

FRAMES = 1026
SPANS = 3


def completed(frame_count: int = FRAMES, **changes) -> tuple[RunState, list[bytes]]:
    """A completed run and its spans as the table stores them."""
    spans = -(-(frame_count - 1) // 512)
    results = [done(span, frame_count=frame_count, values=probabilities(span, frame_count), **changes) for span in range(spans)]
    state = None
    for offset, record in enumerate([started(frame_count=frame_count), taken(0, second=1), taken(0, second=5), *results]):
        state = fold(state, record, offset, 1000 * offset).state
    assert state is not None
    assert state.outcome is Outcome.COMPLETED
    return state, [pack_span(result) for result in results]


@given(st.sampled_from([2, 3, 512, 513, 514, 1025, 1026]), st.integers(0, 3))
@settings(max_examples=25)
def test_probabilities_come_through_unchanged(frame_count, seed):
    """The finished run holds exactly what the worker encoded, to the last bit."""
    spans = range(-(-(frame_count - 1) // 512))
    state, _ = completed(frame_count)
    packed = [pack_span(done(span, frame_count=frame_count, values=probabilities(span, frame_count, seed))) for span in spans]
    expected = np.concatenate([probabilities(span, frame_count, seed) for span in spans])
    assert assemble(state, packed).probabilities.tobytes() == expected.tobytes()


def test_probabilities_are_little_endian_float32():
    """The text is base64 of little-endian float32, whatever the array's type."""
    values = probabilities(2, FRAMES)
    raw = base64.b64decode(encode_probabilities(values.astype(">f4")))
    assert np.array_equal(np.frombuffer(raw, "<f4").reshape(values.shape), values)


def test_a_finished_run_is_a_function_of_its_records():
    """Assembled twice from the same records, once through the table, a run has the same bytes down to its database."""
    from core.captions import find_captions
    from storage.run_db import build_run_db

    state, packed = completed()
    again = RunState.model_validate_json(state.to_bytes())
    runs = [assemble(state, packed), assemble(again, [bytes(span) for span in packed])]
    first, second = (build_run_db(run, find_captions(run.probabilities)) for run in runs)
    assert first == second


def test_times_and_costs_come_from_the_records():
    """A run begins with the first span taken, ends with the last one done, and costs the GPU seconds of its spans."""
    state, packed = completed()
    run = assemble(state, packed)
    assert (run.started_at - MOMENT).total_seconds() == 1
    assert (run.completed_at - MOMENT).total_seconds() == 12
    assert run.processing_time_seconds == 11
    assert run.gpu_seconds == pytest.approx(0.5 + 1.5 + 2.5)
    assert run.pair_milliseconds[0] == pytest.approx(500 / 512)
    assert run.pair_milliseconds[-1] == pytest.approx(2500)
    assert run.pair_milliseconds.sum() == pytest.approx(1000 * run.gpu_seconds)


def test_provenance_lists_what_the_result_depends_on():
    """The provenance holds checkpoint, precision, layout, devices, versions, request and frame size, and all values if workers differ."""
    state, packed = completed()
    other = done(1, values=probabilities(1, FRAMES), device="NVIDIA H200", engine={"torch": "2.8.0", "cuda": "12.8"})
    packed[1] = pack_span(other)
    provenance = assemble(state, packed).provenance
    assert provenance["device"] == "NVIDIA H200, cpu"
    assert provenance["torch"] == "2.8.0, 2.9.0"
    assert provenance["cuda"] == "12.8"
    assert provenance["workers"] == "w:0, w:1, w:2"
    assert provenance["frame_size"] == "402x28"
    expected = {"checkpoint_sha256": "ab" * 32, "layout_sha256": "cd" * 32, "precision": "float32", "attempt": "1", "event_id": "event-101"}
    assert {name: provenance[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((511, 2, 5)), "20440 bytes of probabilities, expected 20480 for 512 pairs"),
        (np.zeros((513, 2, 5)), "20520 bytes"),
        (np.zeros((512, 2, 5), "<f8"), None),
        (np.zeros(0), "0 bytes"),
        (np.full((512, 2, 5), np.nan), "not finite"),
        (np.full((512, 2, 5), np.inf), "not finite"),
        (np.full((512, 2, 5), 1.01), "not within 0..1"),
        (np.full((512, 2, 5), -0.01), "not within 0..1"),
    ],
)
def test_impossible_probabilities_are_poison(values, message):
    """A wrong number of pairs and values that are not probabilities are refused with the actual value."""
    if message is None:  # as float64 they are twice as many bytes
        record, message = done(0).model_copy(update={"probabilities": base64.b64encode(values.tobytes()).decode()}), "40960 bytes"
    else:
        record = done(0, values=values)
    with pytest.raises(PoisonError, match=f"span 0 of run .*{message}"):
        pack_span(record)


@pytest.mark.parametrize("text", ["not base64!", "AAA", "é", "AAAA AAAA"])
def test_invalid_base64_is_poison(text):
    """Undecodable text is refused, not guessed at."""
    with pytest.raises(PoisonError):
        pack_span(done(0).model_copy(update={"probabilities": text}))


def test_a_span_that_the_video_does_not_have_is_poison():
    """A result for span 3 of a video of three spans is refused."""
    with pytest.raises(PoisonError, match="span 3 of a video of 1026 frames"):
        pack_span(done(3, values=np.zeros((1, 2, 5))))


def test_an_incomplete_run_is_not_assembled():
    """A span too few is an error, not a shorter run."""
    state, packed = completed()
    with pytest.raises(ValueError, match="2 of 3 spans"):
        assemble(state, packed[:2])
