"""The stages of a span: fetch, decode, predict, send. Each is a step of its trace, and its time goes into the metric."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from core.metrics import STAGE_DURATION
from core.trace_context import exemplar
from streams.records import Work
from streams.runtime.tracing import Step, step


@contextmanager
def stage(name: str, work: Work, *, topic: str | None = None) -> Iterator[Step]:
    """One stage, which may send to a topic. The metric counts those that succeed."""
    started = time.monotonic()
    with step(name, topic=topic) as staged:
        yield staged
        STAGE_DURATION.labels(name).observe(time.monotonic() - started, exemplar(str(work.run_id), staged.trace))
