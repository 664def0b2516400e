"""Observability of every worker process: the health and metrics server, and the consumer lag as reported by the brokers."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from importlib.metadata import version

from aiohttp import web
from aiokafka.errors import KafkaError
from faust.types import TP

from core.logging import get_logger
from core.metric_kinds import Role, registry_of
from core.metrics import BUILD, CONSUMER_LAG, READY
from core.optional_parts import missing_part
from core.settings import Settings
from core.tracing_settings import TracingSettings
from streams.processing.app import ExtentsApp
from streams.processing.group_watch import GroupWatch
from streams.processing.topic_watch import TopicWatch
from streams.runtime.circuit_breaker import CircuitBreaker
from streams.runtime.health import Health, HealthServer

log = get_logger(__name__)

LAG_EVERY_SECONDS = 15.0


def serve_health(
    app: ExtentsApp,
    settings: Settings,
    role: Role,
    breakers: Iterable[CircuitBreaker],
    mounted: Mapping[str, web.Application] | None = None,
) -> Health:
    """Add the health server to an app, with the checks common to both roles. The role adds its own steps.

    Args:
        mounted: applications to serve beside it, by path.
    """
    health = Health()
    group = GroupWatch(app, settings.kafka)
    health.add_wait("group", group.wait_reason)
    health.add_fault("group", group.fault)
    for breaker in breakers:
        health.add_wait(breaker.name, breaker.wait_reason)
    server = HealthServer(health, settings.process.http_host, settings.process.http_port, mounted, registry_of(role))
    app.manage_resource(server, group)
    BUILD.labels(version("extents"), role).set(1)
    READY.set_function(lambda: not (health.faults() or health.waits()))

    app.run_in_background(lambda: measure_lag(app))
    app.run_in_background(TopicWatch(app, settings.kafka).watch)
    return health


def export_traces(app: ExtentsApp, settings: TracingSettings, role: str, group: str) -> None:
    """Export traces of this process if OpenTelemetry's variables ask for them. Call it before adding other resources, so that their
    last steps are exported too. A process that cannot export traces works without them.
    """
    if not settings.wanted:
        return
    if settings.unsupported is not None:
        log.warning("tracing.off", error=settings.unsupported)
        return
    try:
        from streams.runtime.otlp import TraceExport
    except ModuleNotFoundError as error:
        missing = missing_part(error)
        if missing is None:
            raise
        log.warning("tracing.off", error=f"an endpoint for traces is set ({settings.endpoint_url}), but {missing}")
        return
    app.manage_resource(TraceExport(settings, role, group))


async def measure_lag(app: ExtentsApp) -> None:
    """Refresh the lag regularly. Runs until cancelled."""
    while True:
        await asyncio.sleep(LAG_EVERY_SECONDS)
        try:
            await _measure_lag(app)
        except KafkaError as error:
            log.info("lag.unknown", error=repr(error))


async def _handled_to(app: ExtentsApp, tp: TP, committed: int | None, begin: int) -> int:
    """The offset up to which a partition is handled. Offsets without a record, such as transaction markers, are skipped."""
    handled = committed or begin
    read: int | None = app.consumer._read_offset[tp]  # type: ignore[attr-defined]  # Faust has no accessor for it either
    if read is None or read + 1 <= handled:  # every delivered record has been handled
        return max(handled, await app.consumer.position(tp) or 0)
    return handled


async def _measure_lag(app: ExtentsApp) -> None:
    """Set the lag from the brokers' end offsets of the assigned partitions. Faust's own figure is stale under load."""
    acking = app.topics.acking_topics
    assigned = {tp for tp in app.consumer.assignment() if tp.topic in acking}
    committed_offsets = app.consumer._committed_offset  # type: ignore[attr-defined]  # of the group; Faust has no accessor
    committed = {tp: committed_offsets[tp] for tp in assigned}
    untouched = [tp for tp, offset in committed.items() if offset is None]
    starts = await app.consumer.earliest_offsets(*untouched) if untouched else {}
    ends = await app.consumer.highwaters(*assigned) if assigned else {}
    lag: dict[str, int] = defaultdict(int)
    for tp, end in ends.items():
        lag[tp.topic] += max(0, end - await _handled_to(app, tp, committed[tp], starts.get(tp, 0)))
    for topic in acking:
        CONSUMER_LAG.labels(topic).set(lag[topic])
