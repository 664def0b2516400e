"""The building blocks of the service's metrics: labels with bounded values, series that exist before their first event, and gauges
that only one process reports.
"""

import itertools
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

import prometheus_client
from prometheus_client import GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR, REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_Metric = TypeVar("_Metric", bound=MetricWrapperBase)

Role = Literal["coordinator", "gpu-worker"]
COORDINATOR: Final[tuple[Role, ...]] = ("coordinator",)
GPU_WORKER: Final[tuple[Role, ...]] = ("gpu-worker",)
EVERY_ROLE: Final[tuple[Role, ...]] = ("coordinator", "gpu-worker")

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, which no query reads


@dataclass(frozen=True, slots=True)
class Label:
    """A label. ``values`` lists every value it can have. If they are known only at run time, ``bound`` says what limits them."""

    name: str
    values: tuple[str, ...] = ()
    bound: str = ""

    def __post_init__(self) -> None:
        if not self.values and not self.bound:
            raise ValueError(f"label {self.name} has neither values nor a bound; give one of the two")


@dataclass(frozen=True, slots=True)
class Spec:
    """The description of a metric, for ``docs/metrics.md`` and for tests."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[Label, ...]
    roles: tuple[Role, ...]
    metric: Collector
    owned: bool = False


SPECS: Final[dict[str, Spec]] = {}


def counter(name: str, text: str, roles: tuple[Role, ...], *labels: Label) -> Counter:
    return _keep("counter", name, text, roles, labels, Counter(name, text, _names(labels)))


def gauge(name: str, text: str, roles: tuple[Role, ...], *labels: Label) -> Gauge:
    return _keep("gauge", name, text, roles, labels, Gauge(name, text, _names(labels)))


def histogram(name: str, text: str, roles: tuple[Role, ...], *labels: Label, buckets: Sequence[float]) -> Histogram:
    return _keep("histogram", name, text, roles, labels, Histogram(name, text, _names(labels), buckets=buckets))


def owned_gauge(name: str, text: str, *labels: Label) -> "OwnedGauge":
    made = OwnedGauge(name, text, _names(labels))
    REGISTRY.register(made)
    SPECS[name] = Spec(name, "gauge", text, labels, COORDINATOR, made, owned=True)
    return made


class OwnedGauge(Collector):
    """A gauge about the whole installation, which one process at a time reports. It has no series until it is set.

    If several coordinators reported it, a careless ``sum`` would add them up, and a former owner would keep reporting old values.
    """

    def __init__(self, name: str, text: str, labels: Sequence[str]) -> None:
        self._name, self._text, self._labels = name, text, tuple(labels)
        self._values: dict[tuple[str, ...], float] = {}
        self._lock = threading.Lock()

    def set(self, value: float, *labels: str) -> None:
        with self._lock:
            self._values[labels] = value

    def replace(self, values: Mapping[Any, float]) -> None:
        """Set these series, and drop every other one."""
        with self._lock:
            self._values = dict(values)

    def clear(self) -> None:
        self.replace({})

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(self._name, self._text, labels=self._labels)
        with self._lock:
            for labels, value in sorted(self._values.items()):
                family.add_metric(labels, value)
        yield family


class BoundedValues:
    """Keeps a label's values up to a number of different ones; any further value becomes ``other``."""

    def __init__(self, limit: int) -> None:
        self._limit, self._known = limit, set[str]()

    def __call__(self, value: str) -> str:
        if value not in self._known and len(self._known) >= self._limit:
            return "other"
        self._known.add(value)
        return value


def begin_at_zero(role: Role, **run_time_values: Iterable[str]) -> None:
    """Create every series of a role whose labels are known, so that ``increase()`` sees the first event of each.

    Args:
        run_time_values: values of labels that are known only now, such as the installation's topics.
    """
    known = {name: tuple(values) for name, values in run_time_values.items()}
    for spec in SPECS.values():
        if spec.owned or role not in spec.roles or spec.kind == "gauge" or not isinstance(spec.metric, MetricWrapperBase):
            continue
        values = [label.values or known.get(label.name, ()) for label in spec.labels]
        if spec.labels:
            for combination in itertools.product(*values):
                spec.metric.labels(*combination)


def registry_of(role: Role) -> CollectorRegistry:
    """Return a registry with the metrics of a role and of its process.

    Every process defines all metrics. If coordinators exposed those of GPU workers, their zeros would distort averages.
    """
    registry = CollectorRegistry()
    for collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
        registry.register(collector)
    for spec in SPECS.values():
        if role in spec.roles:
            registry.register(spec.metric)
    return registry


def _keep(
    kind: Literal["counter", "gauge", "histogram"],
    name: str,
    text: str,
    roles: tuple[Role, ...],
    labels: tuple[Label, ...],
    metric: _Metric,
) -> _Metric:
    SPECS[name] = Spec(name, kind, text, labels, roles, metric)
    return metric


def _names(labels: Iterable[Label]) -> list[str]:
    return [label.name for label in labels]
