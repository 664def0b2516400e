"""The coordinator: admits requests, aggregates results, finishes runs. No torch."""

from functools import partial

from aiohttp import web
from faust.types import StreamT

from core.logging import configure_logging
from core.metric_kinds import begin_at_zero
from core.metrics import ACTIVE_RUNS, OLDEST_UNFINISHED, UNFINISHED_RUNS
from core.settings import Settings
from storage.connect import object_keys, open_listings, open_replays, open_rows, open_store
from storage.model_store import ModelStore
from streams.admission.rejections import Rejections
from streams.admission.run_lookup import RunLookup
from streams.admission.run_starter import RunStarter
from streams.admission.standing_orders import StandingOrders
from streams.agents.admit import Admission
from streams.agents.aggregate import Aggregation
from streams.apps.heartbeats import send_heartbeats
from streams.apps.live_page import ROOT, LivePage, access_of
from streams.apps.observability import export_traces, serve_health
from streams.apps.prerequisites import Prerequisites, model_prerequisite, topics_prerequisite, writable_store_prerequisite
from streams.coordinator.deadlines import Deadlines
from streams.coordinator.finisher import Finisher
from streams.coordinator.found_runs import FoundRuns
from streams.coordinator.gpu_speed import GpuSpeed
from streams.coordinator.late_answers import LateAnswers
from streams.coordinator.lost_rows import LostRows
from streams.coordinator.outstanding import Outstanding
from streams.coordinator.progress import Progress
from streams.coordinator.replays import ReplayRunner
from streams.coordinator.run_table import Runs
from streams.coordinator.worker_hours import WorkerHours
from streams.model_catalog import ModelCatalog
from streams.processing.app import ExtentsApp, make_app
from streams.processing.failed_records import FailedRecords, failure_policy
from streams.processing.ordered_processor import OrderedProcessor
from streams.processing.producer import Producer
from streams.publisher import Publisher
from streams.received import ReceivedRecord
from streams.runtime.assignment import Assignment
from streams.runtime.circuit_breaker import CircuitBreaker
from streams.topics import COORDINATOR, Topics


def create_coordinator(settings: Settings) -> ExtentsApp:
    """Wire up the coordinator. Nothing connects before the app starts."""
    topics = Topics(settings.topics)
    sizes = settings.topics
    app = make_app(COORDINATOR, settings.kafka, topics, partitions=2 * sizes.request_partitions + 2 * sizes.results_partitions)
    export_traces(app, settings.tracing, COORDINATOR, topics.group(COORDINATOR))
    keys = object_keys(settings.keys)
    store, rows = open_store(settings.wasabi, keys), open_rows(settings.supabase)
    replays, listings = open_replays(settings.supabase), open_listings(settings.supabase)
    app.manage_resource(store, rows, replays, listings)
    store_breaker, database_breaker = CircuitBreaker("object_store", store.probe), CircuitBreaker("database", rows.check)
    publisher = Publisher(topics, Producer(app))
    runs = Runs(app, topics)
    found_runs = FoundRuns(store, rows, store_breaker, database_breaker, settings.admission.gpu_usd_per_hour)
    lost_rows = LostRows(store, keys, rows, store_breaker, database_breaker)
    late = LateAnswers(publisher, rows, database_breaker, found_runs, lost_rows)
    finisher = Finisher(app, runs, publisher, store, keys, rows, late, settings.finish.finish_concurrency, store_breaker, database_breaker)
    progress = Progress(rows, database_breaker, settings.finish.progress_interval_seconds)
    gpu_speed = GpuSpeed(settings.admission.expected_pairs_per_second)
    aggregation = Aggregation(runs, finisher, progress, publisher, gpu_speed)
    outstanding = Outstanding(app, settings.kafka, topics, listings, database_breaker, gpu_speed, settings.admission.gpu_usd_per_hour)
    catalog = ModelCatalog(ModelStore(store, keys))
    lookup = RunLookup(settings.admission, store, keys, catalog, found_runs, store_breaker)
    starter = RunStarter(settings.admission, publisher, rows, lookup, database_breaker)
    orders = StandingOrders(settings.admission, replays, database_breaker, catalog.default_version)
    admission = Admission(settings.admission, publisher, rows, lookup, starter, late, database_breaker, orders, Rejections(publisher))
    runs.on_recovered = finisher.after_recovery

    policy = failure_policy(settings.process)
    results = OrderedProcessor(
        app, topics.results, aggregation.handle, settings.finish.aggregate_batch, FailedRecords(app, policy, aggregation.give_up)
    )
    high = OrderedProcessor(
        app,
        topics.encoded,
        lambda record, assignment: admission.handle(record, assignment, low=False),
        settings.admission.admit_concurrency,
        FailedRecords(app, policy, partial(admission.give_up, low=False)),
    )

    async def admit_low(record: ReceivedRecord, assignment: Assignment) -> None:
        await assignment.until_revoked(high.wait_drained())
        await admission.handle(record, assignment, low=True)

    # One at a time, so that each further coordinator can exceed the limit on low-priority jobs by at most one.
    low = OrderedProcessor(app, topics.encoded_low, admit_low, 1, FailedRecords(app, policy, partial(admission.give_up, low=True)))
    deadlines = Deadlines(app, runs, publisher, results.handled_to, store_breaker)

    @app.agent(app.raw_topic(topics.encoded), name="admit_high")
    async def admit_high_agent(stream: StreamT[bytes]) -> None:
        await high.consume(stream)

    @app.agent(app.raw_topic(topics.encoded_low), name="admit_low")
    async def admit_low_agent(stream: StreamT[bytes]) -> None:
        await low.consume(stream)

    @app.agent(app.raw_topic(topics.results), name="aggregate")
    async def aggregate_agent(stream: StreamT[bytes]) -> None:
        await results.consume(stream)

    app.run_in_background(progress.run)
    app.run_in_background(deadlines.run)
    app.run_in_background(store_breaker.watch)
    app.run_in_background(outstanding.run)
    app.run_in_background(WorkerHours(app, settings.kafka, topics, rows, database_breaker).run)
    app.run_in_background(ReplayRunner(app, publisher, replays, store, database_breaker, settings.admission).run)
    ACTIVE_RUNS.set_function(lambda: sum(state.outcome is None for state in runs.active.values()))
    UNFINISHED_RUNS.set_function(lambda: sum(state.needs_finishing for state in runs.active.values()))
    OLDEST_UNFINISHED.set_function(runs.oldest_seconds)
    begin_at_zero("coordinator", topic=(topics.encoded, topics.encoded_low, topics.results, topics.work_high, topics.work_low))
    access, mounted = access_of(settings), dict[str, web.Application]()
    if access is not None:
        page = LivePage(settings, access)
        app.manage_resource(page)
        mounted[ROOT] = page.application
    health = serve_health(app, settings, COORDINATOR, (store_breaker, database_breaker), mounted)
    send_heartbeats(app, settings, COORDINATOR, health, lambda: {"in_hand": sum(state.outcome is None for state in runs.active.values())})
    prerequisites = Prerequisites(
        {
            "topics": topics_prerequisite(settings.kafka, topics),
            "object store": writable_store_prerequisite(store, keys.trial_folder),
            "database": rows.check,
            "model": model_prerequisite(catalog, settings.admission),
        }
    )
    health.add_wait("start", prerequisites.wait_reason)
    app.manage_resource(prerequisites)
    return app


def __getattr__(name: str) -> ExtentsApp:
    """Build ``app`` from the environment on first access, for ``faust -A streams.apps.coordinator``."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    settings = Settings().check()
    configure_logging(settings.process)
    globals()["app"] = app = create_coordinator(settings)
    return app
