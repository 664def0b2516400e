"""The GPU worker: predicts spans. Uses the brokers and the object store, but not the database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from faust.types import StreamT

from core.errors import ConfigurationError, ExtentsError
from core.logging import configure_logging, get_logger
from core.metric_kinds import begin_at_zero
from core.settings import GPU_WORKER_SECTIONS, AdmissionSettings, Settings
from core.types import Priority
from storage.connect import object_keys, open_store
from storage.model_store import ModelStore
from streams.agents.infer import Inference
from streams.apps.heartbeats import send_heartbeats, worker_name
from streams.apps.observability import export_traces, serve_health
from streams.apps.prerequisites import Prerequisites, model_prerequisite, readable_store_prerequisite, topics_prerequisite
from streams.gpu_worker.cancellations import Cancellations
from streams.gpu_worker.dead_lettered_work import DeadLetteredWork
from streams.gpu_worker.model_cache import ModelCache
from streams.gpu_worker.predictor import SpanPredictor
from streams.gpu_worker.span_frames import SpanFrames
from streams.gpu_worker.span_slots import SpanSlots
from streams.model_catalog import ModelCatalog
from streams.processing.app import ExtentsApp, make_app
from streams.processing.failed_records import FailedRecords, failure_policy
from streams.processing.ordered_processor import OrderedProcessor
from streams.processing.producer import Producer
from streams.publisher import Publisher
from streams.runtime.circuit_breaker import CircuitBreaker
from streams.topics import GPU_WORKER, Topics

log = get_logger(__name__)

READ_AHEAD = 64
"""Records in flight for each topic: enough that delayed spans do not block others, but few enough to redeliver after a kill."""


def create_gpu_worker(settings: Settings) -> ExtentsApp:
    """Wire up the worker. Nothing connects and no model loads before the app starts."""
    topics, worker = Topics(settings.topics), settings.worker
    app = make_app(GPU_WORKER, settings.kafka, topics, partitions=2 * settings.topics.work_partitions)
    export_traces(app, settings.tracing, GPU_WORKER, topics.group(GPU_WORKER))
    keys = object_keys(settings.keys)
    store, cancellations = open_store(settings.wasabi, keys), Cancellations(settings.kafka, topics.cancelled)
    store_breaker = CircuitBreaker("object_store", store.probe)
    begin_at_zero("gpu-worker", topic=(topics.work_high, topics.work_low))
    health = serve_health(app, settings, GPU_WORKER, (store_breaker,))
    predictor = SpanPredictor(worker, health, settings.admission.precision, settings.admission.gpu_usd_per_hour)
    slots = SpanSlots(worker.spans_in_flight, worker.spans_in_flight_bytes)
    send_heartbeats(app, settings, GPU_WORKER, health, lambda: gpu_figures(predictor, slots))
    models = ModelStore(store, keys)
    cache, catalog = ModelCache(models, worker.model_cache), ModelCatalog(models)
    prerequisites = Prerequisites(
        {
            "topics": topics_prerequisite(settings.kafka, topics),
            "object store": readable_store_prerequisite(store),
            "model": model_prerequisite(catalog, settings.admission),
        }
    )
    health.add_wait("start", prerequisites.wait_reason)
    app.is_computing = lambda: health.is_running("predict")
    app.manage_resource(store, prerequisites, cancellations, predictor.running())
    app.manage_resource(default_model_loaded(predictor, catalog, cache, settings.admission))
    app.run_in_background(cancellations.until_failed)
    publisher, name = Publisher(topics, Producer(app)), worker_name()
    dead_lettered = DeadLetteredWork(publisher, name)
    inference = Inference(
        settings=worker,
        publisher=publisher,
        cancellations=cancellations,
        slots=slots,
        frames=SpanFrames(store, keys, store_breaker, health, worker),
        predictor=predictor,
        models=cache,
        store_breaker=store_breaker,
        partitions=app.partitions_of,
        dead_lettered=dead_lettered,
        worker=name,
    )

    def processor(topic: str, priority: Priority) -> OrderedProcessor:
        failed = FailedRecords(app, failure_policy(settings.process), dead_lettered.give_up)
        return OrderedProcessor(app, topic, lambda record, assignment: inference.handle(record, assignment, priority), READ_AHEAD, failed)

    high, low = processor(topics.work_high, Priority.HIGH), processor(topics.work_low, Priority.LOW)

    @app.agent(app.raw_topic(topics.work_high), name="infer_high")
    async def infer_high(stream: StreamT[bytes]) -> None:
        await high.consume(stream)

    @app.agent(app.raw_topic(topics.work_low), name="infer_low")
    async def infer_low(stream: StreamT[bytes]) -> None:
        await low.consume(stream)

    return app


def gpu_figures(predictor: SpanPredictor, slots: SpanSlots) -> dict[str, Any]:
    """What a GPU worker adds to its heartbeats."""
    pairs_per_second, busy_share = predictor.recent_work.figures()
    return {
        "device": predictor.description,
        "models": predictor.loaded_versions,
        "pairs_per_second": pairs_per_second,
        "busy_share": busy_share,
        "in_hand": slots.held,
    }


@asynccontextmanager
async def default_model_loaded(
    predictor: SpanPredictor, catalog: ModelCatalog, cache: ModelCache, settings: AdmissionSettings
) -> AsyncIterator[None]:
    """Load and warm up the default model of runs before the worker joins its group.

    If that fails, the worker joins without it; models are loaded when their first span arrives.

    Raises:
        ConfigurationError: a setting of this machine is wrong.
    """
    if settings.model_version is not None:
        try:
            model = await catalog.resolve(settings.model_version)
            name = (model.version, model.checkpoint_sha256)
            await predictor.load(*name, settings.precision, lambda: cache.weights(*name))
        except ConfigurationError:
            raise
        except ExtentsError as error:
            log.warning("model.preload_failed", model_version=settings.model_version, error=str(error))
    yield


def __getattr__(name: str) -> ExtentsApp:
    """Build ``app`` from the environment on first access, for ``faust -A streams.apps.gpu_worker``."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    settings = Settings().check(GPU_WORKER_SECTIONS)
    configure_logging(settings.process)
    globals()["app"] = app = create_gpu_worker(settings)
    return app
