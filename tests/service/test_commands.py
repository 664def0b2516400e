"""Workers as users start them, with ``extents worker`` and with Faust's own command, and how they end."""

import asyncio

import pytest

from tests.service.installation import Installation
from tests.service.videos import video

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_fausts_own_command(service: Installation) -> None:
    """Workers started by Faust's command do everything, beside workers of ``extents worker`` too, and end with status 0."""
    processes = service.processes
    fausts = [
        processes.command("coordinator", "faust", "-A", "streams.apps.coordinator", "worker", "--without-web"),
        processes.command("gpu", "faust", "-A", "streams.apps.gpu_worker", "worker", "--without-web"),
    ]
    await service.ledger.until_members("coordinator", 1)
    await service.ledger.until_members("gpu-worker", 1)
    _, outcome = await service.run(video(2))
    assert outcome.name == "inference.completed"
    taken, _ = service.ledger.spans(outcome.body["run_id"])
    assert taken[0].worker.endswith(f":{fausts[1].pid}")

    ours = [processes.command("coordinator"), processes.command("gpu")]
    await service.ledger.until_members("coordinator", 2)
    await service.ledger.until_members("gpu-worker", 2)
    assert await asyncio.gather(*(worker.stopped() for worker in fausts)) == [0, 0]
    _, outcome = await service.run(video(2))
    taken, _ = service.ledger.spans(outcome.body["run_id"])
    assert taken[0].worker.endswith(f":{ours[1].pid}")
    await service.verify_at_rest()
    assert await asyncio.gather(*(worker.stopped() for worker in ours)) == [0, 0]
