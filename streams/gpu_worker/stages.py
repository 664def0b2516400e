"""The stages of a span: fetch, decode, predict, send. Each is a step of the trace, and its duration is recorded in a metric."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from core.metrics import STAGE_DURATION
from core.trace_context import exemplar
from streams.records import Work
from streams.runtime.tracing import Step, step


@contextmanager
def stage(name: str, work: Work, *, topic: str | None = None) -> Iterator[Step]:
    """Mark the code within as one stage, which may send to a topic. The metric records only stages that succeed."""
    started = time.monotonic()
    with step(name, topic=topic) as staged:
        yield staged
        STAGE_DURATION.labels(name).observe(time.monotonic() - started, exemplar(str(work.run_id), staged.trace))
