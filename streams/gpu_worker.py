"""The GPU worker: predicts spans. Knows the brokers and the store, no database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from faust.types import StreamT

from core.errors import ConfigurationError, ExtentsError
from core.logging import get_logger
from core.settings import AdmissionSettings, Settings
from core.types import Priority
from storage.connect import object_keys, open_store
from storage.models import ModelStore
from streams.agents.infer import Inference
from streams.announcer import Announcer
from streams.app import ExtentsApp, make_app
from streams.cancellations import Cancellations
from streams.engine import Engine
from streams.lane import Lane
from streams.models import ModelCache, ModelCatalog
from streams.patience import Dependency
from streams.producer import Producer
from streams.serving import serve_health
from streams.span_frames import SpanFrames
from streams.span_room import SpanRoom
from streams.topics import GPU_WORKER, Topics

log = get_logger(__name__)

READ_AHEAD = 64
"""Records read of each topic: enough that spans set aside do not keep others waiting, and no more to read again after a kill."""


def create_gpu_worker(settings: Settings) -> ExtentsApp:
    """Wire the worker up; nothing is connected, and no model loaded, before it starts."""
    topics, worker = Topics(settings.topics), settings.worker
    app = make_app(GPU_WORKER, settings.kafka, topics, partitions=2 * settings.topics.work_partitions)
    store, cancellations = open_store(settings.wasabi), Cancellations(settings.kafka, topics.cancelled)
    away = Dependency("object_store", store.probe)
    health = serve_health(app, settings, GPU_WORKER, (away,))
    keys = object_keys(settings.keys)
    engine = Engine(worker, health, settings.admission.precision, settings.admission.gpu_usd_per_hour)
    models = ModelStore(store, keys)
    cache = ModelCache(models, worker.model_cache)
    app.hold(store, cancellations, engine.running(), default_model_loaded(engine, ModelCatalog(models), cache, settings.admission))
    app.run_beside(cancellations.followed)
    inference = Inference(
        settings=worker,
        announcer=Announcer(topics, Producer(app)),
        cancellations=cancellations,
        room=SpanRoom(worker.spans_in_flight, worker.spans_in_flight_bytes),
        frames=SpanFrames(store, keys, away, health, worker),
        engine=engine,
        models=cache,
        objects_away=away,
        partitions=app.partitions_of,
    )
    high = Lane(app, topics.work_high, lambda event, tenure: inference.handle(event, tenure, Priority.HIGH), READ_AHEAD)
    low = Lane(app, topics.work_low, lambda event, tenure: inference.handle(event, tenure, Priority.LOW), READ_AHEAD)

    @app.agent(app.raw_topic(topics.work_high), name="infer_high")
    async def infer_high(stream: StreamT[bytes]) -> None:
        await high.follow(stream)

    @app.agent(app.raw_topic(topics.work_low), name="infer_low")
    async def infer_low(stream: StreamT[bytes]) -> None:
        await low.follow(stream)

    return app


@asynccontextmanager
async def default_model_loaded(
    engine: Engine, catalog: ModelCatalog, cache: ModelCache, settings: AdmissionSettings
) -> AsyncIterator[None]:
    """Load and warm up the model that runs get by default, before the worker joins its group.

    Where that fails the worker joins without: whatever a run names is loaded when its first span comes.

    Raises:
        ConfigurationError: a setting of this machine is wrong.
    """
    if settings.model_version is not None:
        try:
            model = await catalog.resolve(settings.model_version)
            name = (model.version, model.checkpoint_sha256)
            await engine.load(*name, settings.precision, lambda: cache.weights(*name))
        except ConfigurationError:
            raise
        except ExtentsError as error:
            log.warning("model.not_loaded_ahead", model_version=settings.model_version, error=str(error))
    yield
