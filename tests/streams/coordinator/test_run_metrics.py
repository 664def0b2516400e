"""What the log of a run adds to the metrics, and the speed with which backlogs are computed."""

import pytest
from prometheus_client import REGISTRY

from core.captions import find_captions
from core.types import Outcome, Priority
from streams.coordinator.gpu_speed import GpuSpeed
from streams.coordinator.run_metrics import count_outcome, count_record, count_result
from streams.policy.run_log import fold
from tests.storage.finished_runs import finished_run
from tests.streams.run_logs import MOMENT, deadline, done, request, started, taken

BEGIN_MS = int(MOMENT.timestamp() * 1000)


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_waits_are_counted_by_priority_and_replay():
    """A replay's log is counted with its own labels, and each step once."""
    labels = {"priority": "low", "replay": "yes"}
    names = ("request_to_start", "request_to_first_span", "request_to_outcome")
    before = {name: sample(f"extents_{name}_seconds_sum", **labels, **_outcome(name)) for name in names}
    high = sample("extents_request_to_start_seconds_count", priority="high", replay="no")
    state, log = None, [started(priority=Priority.LOW, request=request(101, replay_id="nightly")), taken(0), taken(1), deadline()]
    for offset, record in enumerate(log):
        timestamp_ms = BEGIN_MS + 1000 * (offset + 1)
        folded = fold(state, record, offset, timestamp_ms)
        count_record(state, record, folded.state, timestamp_ms)
        state = folded.state
    count_outcome(state, Outcome.FAILED)
    grown = {name: sample(f"extents_{name}_seconds_sum", **labels, **_outcome(name)) - before[name] for name in names}
    assert grown == pytest.approx({"request_to_start": 1, "request_to_first_span": 2, "request_to_outcome": 4})
    assert sample("extents_request_to_start_seconds_count", priority="high", replay="no") == high


def _outcome(name: str) -> dict[str, str]:
    return {"outcome": "failed"} if name == "request_to_outcome" else {}


def test_every_pair_is_counted_by_label_and_confidence():
    """The counts of labels, and of confidence in either direction, add up to the run's pairs."""
    run = finished_run(500, model_version="counted-1")
    track = find_captions(run.probabilities)
    count_result(run, track)
    model = {"model_version": "counted-1"}
    series = [sample for family in REGISTRY.collect() for sample in family.samples if sample.labels.get("model_version") == "counted-1"]
    for direction in ("forward", "backward"):
        assert sum(sample.value for sample in series if sample.labels.get("direction") == direction) == 500
    assert sum(sample.value for sample in series if sample.name == "extents_label_pairs_total") == 500
    assert sum(sample.value for sample in series if sample.name == "extents_quality_issues_total") == len(track.issues)
    assert sample("extents_captions_total", **model) == len(track.captions)
    assert sample("extents_film_seconds_total", **model) == pytest.approx(50.1)


def test_the_speed_is_the_expected_one_until_it_is_measured():
    """Before the first result the settings decide, then the results; one slow span changes little."""
    speed = GpuSpeed(100.0)
    assert speed.pairs_per_second == 100
    assert speed.seconds_for(10) == pytest.approx(51.2)
    speed.note(done(0, gpu_seconds=0.512))
    assert speed.pairs_per_second == pytest.approx(1000)
    speed.note(done(0, gpu_seconds=5.12))
    assert 600 < speed.pairs_per_second < 1000
