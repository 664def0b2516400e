"""Loading a network, which may take minutes, delays no rebalance."""

import asyncio
from types import SimpleNamespace

import pytest

from streams.agents.infer import Inference
from streams.runtime.assignment import Assignment, AssignmentRevoked
from tests.streams.run_logs import work


async def test_the_span_goes_back_and_the_network_is_loaded_for_the_next():
    """The waiting span is released when the assignment ends; the load itself continues."""
    loading, loaded = asyncio.Event(), asyncio.Event()

    async def load(version, sha256, precision, weights) -> str:
        loading.set()
        await loaded.wait()
        done.append(version)
        return "network"

    done: list[str] = []
    nothing = SimpleNamespace()
    settings, engine = SimpleNamespace(retry_in_place_seconds=1.0), SimpleNamespace(load=load)
    inference = Inference(
        settings, nothing, nothing, nothing, nothing, engine, nothing, nothing, lambda topic: frozenset(), nothing, "worker"
    )
    assignment = Assignment(1)
    waiting = asyncio.create_task(inference._load(SimpleNamespace(work=work(), assignment=assignment)))
    await loading.wait()
    assignment.revoke(asyncio.get_running_loop())
    with pytest.raises(AssignmentRevoked):
        await waiting
    assert done == []
    loaded.set()
    assert await inference._load(SimpleNamespace(work=work(), assignment=Assignment(2))) == "network"
    assert len(done) == 2
