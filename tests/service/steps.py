"""The steps at which tests kill a worker, in order.

Each fault strikes right after its step, which for most steps is right before the next one. ``on_both_sides`` gives faults
before and after.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from tests.service.faults import Fault

_COMMIT: Final = "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread.commit"
_ACK: Final = "faust.streams:Stream.ack"

ADMITTING: Final = (
    Fault("storage.rows:Rows.admit", "after"),
    Fault("streams.publisher:Publisher.append_to_run_log", "after", ("run_started",)),
    Fault("streams.processing.producer:Producer.send", "after", ("inference.work.high",), nth=1),
    Fault("streams.processing.producer:Producer.send", "after", ("inference.work.high",), nth=2),
)
JOINING: Final = (Fault("streams.publisher:Publisher.append_to_run_log", "after", ("run_joined",)),)
AGGREGATING: Final = (
    Fault("streams.coordinator.run_table:Runs.put_span", "after"),
    Fault("streams.coordinator.run_table:Runs.put", "after", ("done=[0]",)),
    Fault("streams.coordinator.run_table:ConfirmedTable.confirmed", "after", nth=3),
)
FINISHING: Final = (
    Fault("streams.coordinator.finisher:_build", "after"),
    Fault("storage.objects:ObjectStore.put", "after"),
    Fault("streams.coordinator.finisher:publish_run", "after"),
    Fault("storage.rows:Rows.complete_run", "after"),
    Fault("streams.publisher:Publisher.publish_outcome", "after", ("inference.completed",)),
    Fault("streams.publisher:Publisher.append_to_run_log", "after", ("run_finished", "completed")),
    Fault("streams.coordinator.run_table:Runs.remove_span", "after"),
)
LOSING_A_RESULT: Final = (
    Fault("streams.processing.transport:RetryingProducerBuffer._send_pending", "before", ("/1/0'",), how="lose"),
    Fault("storage.rows:Rows.complete_run", "before"),
)
"""Of the two changes that a result makes, the brokers get only the second, the state; then the worker ends."""
FAILING: Final = (
    Fault("streams.processing.producer:Producer.send", "after", ("inference.cancelled",)),
    Fault("streams.publisher:Publisher.dead_letter", "after"),
    Fault("streams.publisher:Publisher.publish_outcome", "after", ("inference.failed",)),
    Fault("storage.rows:Rows.fail_run", "after"),
    Fault("streams.publisher:Publisher.append_to_run_log", "after", ("run_finished", "failed")),
)

READING_BACK: Final = (Fault("storage.publish:_read_present", "after", since=Fault("storage.objects:ObjectStore.put", "after")),)
"""Between the upload of the object and its rows: the first read after the check whether the object exists."""

_FINISHED: Final = Fault(_ACK, "after", ("run_finished",))
ACKNOWLEDGING: Final = (
    Fault(_ACK, "after", ('"force"',)),  # of all records that a coordinator acknowledges, only requests have this field
    Fault(_COMMIT, "after", ("video.encoded",)),
    _FINISHED,
    Fault(_COMMIT, "after", ("inference.results",), since=_FINISHED),
)
"""In this process and with the brokers: of a request, and of the record that ends its run."""

INFERRING: Final = (
    Fault("streams.publisher:Publisher.append_to_run_log", "after", ("span_taken",), nth=2),
    Fault("streams.gpu_worker.predictor:SpanPredictor.predict", "after"),
    Fault("streams.publisher:Publisher.append_to_run_log", "after", ("span_done",)),
)
ACKNOWLEDGING_WORK: Final = (Fault(_ACK, "after"), Fault(_COMMIT, "after", ("inference.work.high",)))


def on_both_sides(steps: Iterable[Fault]) -> list[Fault]:
    """Faults right before and right after each of these steps."""
    return [replace(step, when=when) for step in steps for when in ("before", "after")]
