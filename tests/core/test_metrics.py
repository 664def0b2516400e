"""What holds for every metric: names, units, bounded labels, and series that exist before their first event."""

import subprocess
import sys

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

import core.metrics  # noqa: F401 - fills the list
from core.metric_kinds import SPECS, BoundedValues, Label, OwnedGauge, registry_of

MAX_SERIES = 700
"""For one process's own metrics, including histogram buckets, before any model is known."""

UNBOUNDED = {"run_id", "video_id", "tenant_id", "request_id", "span", "worker"}


def test_names_and_units():
    """Counters end in _total, histograms in _seconds, units are base units, and every metric has a description."""
    for spec in SPECS.values():
        assert spec.name.startswith("extents_")
        assert (spec.kind == "counter") == spec.name.endswith("_total"), spec.name
        assert not any(word in spec.name for word in ("milli", "_ms", "_mb", "minutes", "_percent")), spec.name
        assert spec.kind != "histogram" or spec.name.endswith("_seconds"), spec.name
        assert spec.help.endswith("."), spec.name


def test_labels_are_bounded():
    """No label is an id, and each lists its values or says what bounds them."""
    for spec in SPECS.values():
        for label in spec.labels:
            assert label.name not in UNBOUNDED, spec.name
            assert label.values or label.bound
    with pytest.raises(ValueError, match="neither values nor a bound"):
        Label("anything")


@pytest.mark.parametrize("role", ["coordinator", "gpu-worker"])
def test_every_series_is_there_from_the_start(role):
    """Each counter and histogram of a role has all its series at 0 from the start, and their number is small."""
    script = f"""
import core.metrics
from core.metric_kinds import registry_of, begin_at_zero
from prometheus_client import generate_latest
begin_at_zero({role!r}, topic=["video.encoded", "inference.results"])
print(generate_latest().decode())
"""
    text = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("extents_")
    }
    assert len(samples) < MAX_SERIES
    assert set(samples.values()) <= {0.0}
    names = {name for name, _ in samples}
    for spec in SPECS.values():
        if role in spec.roles and spec.kind != "gauge" and not any(label.name == "model_version" for label in spec.labels):
            assert spec.name + ("_count" if spec.kind == "histogram" else "") in names, spec.name
    if role == "coordinator":
        assert samples["extents_rejections_total", (("rejection_type", "queue_full"),)] == 0
        assert samples["extents_dead_letters_total", (("reason", "poison"), ("topic", "video.encoded"))] == 0


def test_an_owned_gauge_has_no_series_until_it_is_set():
    """A gauge reports nothing, rather than 0 or an old value, before its process owns it and afterwards."""
    registry, owned = CollectorRegistry(), OwnedGauge("jobs", "Jobs.", ["priority"])
    registry.register(owned)

    def series() -> list[str]:
        return [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]

    assert series() == []
    owned.set(2, "high")
    owned.set(1, "low")
    assert series() == ['jobs{priority="high"} 2.0', 'jobs{priority="low"} 1.0']
    owned.replace({("high",): 5})
    assert series() == ['jobs{priority="high"} 5.0']
    owned.clear()
    assert series() == []


def test_values_beyond_the_bound_are_other():
    """The first values keep their own series for good; all values beyond the bound share one."""
    label = BoundedValues(2)
    assert [label(value) for value in ("a", "b", "c", "a", "d", "b")] == ["a", "b", "other", "a", "other", "b"]


@pytest.mark.parametrize("role", ["coordinator", "gpu-worker"])
def test_a_role_exposes_its_own_metrics_alone(role):
    """A coordinator's zeros are not among the GPU workers' figures, nor the other way round; those of the process are in both."""
    exposed = {family.name for family in registry_of(role).collect()}
    own = {name.removesuffix("_total") for name, spec in SPECS.items() if role in spec.roles}
    assert {name for name in exposed if name.startswith("extents_")} == own
    assert "process_cpu_seconds" in exposed
