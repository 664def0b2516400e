"""The step of a trace that finishes a run."""

from streams.policy.run_state import RunState
from streams.runtime.tracing import NewStep, Value, prefixed


def finishing_step(state: RunState) -> NewStep:
    """The step that announces an outcome, with the same id in every coordinator. Each later answer to a request gets its own step."""
    others = {trace for request in state.requests if (trace := request.trace) is not None and trace != state.trace}
    started = state.started
    attributes: dict[str, Value] = {"run_id": state.run_id, "attempt": state.attempt, "requests": len(state.requests)}
    if started is not None:
        attributes |= {
            "video_id": str(started.video_id),
            "tenant_id": str(started.tenant_id),
            "model_version": started.model_version,
            "pairs": started.frame_count - 1,
        }
    links = tuple(sorted(others, key=lambda trace: trace.traceparent))
    if state.finished_at_ms is not None:
        return NewStep("answer", parent=state.trace, links=links, attributes=prefixed(attributes))
    identity = ("finish", state.run_id, state.attempt)
    return NewStep("finish", parent=state.trace, identity=identity, links=links, attributes=prefixed(attributes))
