"""The coordinator: admits requests, aggregates results, finishes runs. No torch."""

from faust.types import EventT, StreamT

from core.metrics import ACTIVE_RUNS, OLDEST_UNFINISHED, UNFINISHED_RUNS
from core.settings import Settings
from storage.connect import object_keys, open_rows, open_store
from storage.models import ModelStore
from streams.agents.admit import Admission
from streams.agents.aggregate import Aggregation
from streams.announcer import Announcer
from streams.app import ExtentsApp, Tenure, make_app
from streams.deadlines import Deadlines
from streams.finisher import Finisher
from streams.found_runs import FoundRuns
from streams.lane import Lane
from streams.late_answers import LateAnswers
from streams.models import ModelCatalog
from streams.patience import Dependency
from streams.producer import Producer
from streams.progress import Progress
from streams.run_table import Runs
from streams.serving import serve_health
from streams.topics import COORDINATOR, Topics


def create_coordinator(settings: Settings) -> ExtentsApp:
    """Wire the coordinator up; nothing is connected before it starts."""
    topics = Topics(settings.topics)
    sizes = settings.topics
    app = make_app(COORDINATOR, settings.kafka, topics, partitions=2 * sizes.request_partitions + 2 * sizes.results_partitions)
    store, rows, keys = open_store(settings.wasabi), open_rows(settings.supabase), object_keys(settings.keys)
    app.hold(store, rows)
    objects_away, rows_away = Dependency("object_store", store.probe), Dependency("database", rows.check)
    announcer = Announcer(topics, Producer(app))
    runs = Runs(app, topics)
    found_runs = FoundRuns(store, rows, objects_away, rows_away, settings.admission.gpu_usd_per_hour)
    late = LateAnswers(announcer, rows, rows_away, found_runs)
    finisher = Finisher(app, runs, announcer, store, keys, rows, late, settings.finish.finish_concurrency, objects_away, rows_away)
    progress = Progress(rows, rows_away, settings.finish.progress_interval_seconds)
    aggregation = Aggregation(runs, finisher, progress, announcer)
    admission = Admission(
        settings.admission, announcer, store, keys, rows, ModelCatalog(ModelStore(store, keys)), found_runs, objects_away, rows_away
    )
    runs.on_recovered = finisher.after_recovery

    results = Lane(app, topics.results, aggregation.handle, settings.finish.aggregate_batch)
    high = Lane(app, topics.encoded, lambda event, tenure: admission.handle(event, tenure, low=False), settings.admission.admit_concurrency)

    async def admit_low(event: EventT[bytes], tenure: Tenure) -> None:
        await tenure.during(high.wait_drained())
        await admission.handle(event, tenure, low=True)

    low = Lane(app, topics.encoded_low, admit_low, limit=1)  # one at a time, so that the limit on low-priority jobs is kept exactly
    deadlines = Deadlines(app, runs, announcer, results.handled_to, objects_away)

    @app.agent(app.raw_topic(topics.encoded), name="admit_high")
    async def admit_high_agent(stream: StreamT[bytes]) -> None:
        await high.follow(stream)

    @app.agent(app.raw_topic(topics.encoded_low), name="admit_low")
    async def admit_low_agent(stream: StreamT[bytes]) -> None:
        await low.follow(stream)

    @app.agent(app.raw_topic(topics.results), name="aggregate")
    async def aggregate_agent(stream: StreamT[bytes]) -> None:
        await results.follow(stream)

    app.run_beside(progress.run)
    app.run_beside(deadlines.run)
    app.run_beside(objects_away.watch)
    ACTIVE_RUNS.set_function(lambda: sum(state.outcome is None for state in runs.active.values()))
    UNFINISHED_RUNS.set_function(lambda: sum(state.needs_finishing for state in runs.active.values()))
    OLDEST_UNFINISHED.set_function(runs.oldest_seconds)
    serve_health(app, settings, COORDINATOR, (objects_away, rows_away))
    return app
