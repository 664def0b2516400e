"""``python -m tests.chaos.soak``: runs the service for an hour under a steady load, and checks that no process grows.

A stack of its own, two coordinators and a GPU worker as users start them. Requests of every kind come in at a steady rate: ones
that complete, fail, are answered by an earlier run, are rejected or cannot be decoded, with high and low priority. At the end the
verifier checks everything.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

import aiohttp

from core.types import Priority
from devstack.paths import STACKS
from devstack.stack import OwnedStack, owned
from tests.chaos.footprint import Sample, as_json, growth, table, take_sample
from tests.patience import Deadline
from tests.service.installation import Installation, installed
from tests.service.processes import WAIT_SECONDS, Worker
from tests.service.videos import Video, video

FOLDER: Final = STACKS / "soak"
FIGURES: Final = FOLDER / "soak.json"

SETTINGS: Final = {
    "EXTENTS_QUEUE_LIMIT_TENANT": "100000",
    "EXTENTS_MAX_HIGH_JOBS_PER_HOUR_TENANT": "100000",
    "KAFKA_SESSION_TIMEOUT_SECONDS": "20",  # nobody is killed here
    "KAFKA_HEARTBEAT_INTERVAL_SECONDS": "3",
}

SAMPLE_SECONDS: Final = 5.0
REPORT_SECONDS: Final = 60.0

SMALL: Final = video(40)
TWO_SPANS: Final = video(514)
CORRUPT: Final = SMALL.with_chunk("modulo_1/chunk_0000000001.webm", b"this is no film")


class Soak:
    """One installation under load, with the samples of each worker by its name."""

    def __init__(self, service: Installation, seconds: float, per_minute: float) -> None:
        self._service = service
        self._seconds, self._pause = seconds, 60 / per_minute
        self._published = 0
        self._videos: list[tuple[UUID, int]] = []
        self.samples: dict[str, list[Sample]] = {}

    async def run(self) -> None:
        """Publish and measure until the time is up; then wait until everything is answered, and verify."""
        processes = self._service.processes
        workers = [processes.command(role) for role in ("coordinator", "coordinator", "gpu")]
        for worker in workers:
            await worker.ready()
        publishing = asyncio.create_task(self._publish_steadily())
        try:
            await self._watch(workers, publishing)
        finally:
            publishing.cancel()
            with suppress(asyncio.CancelledError):
                await publishing
        _report(f"{self._published} requests published; waiting for their outcomes")
        await self._drain()
        _report("verifying")
        await self._service.verify_at_rest()
        for worker in workers:
            status = await worker.stopped()
            assert status == 0, f"{worker.name} has ended with status {status}"

    async def _watch(self, workers: list[Worker], publishing: asyncio.Task[None]) -> None:
        began = reported = time.monotonic()
        ledger = self._service.ledger
        async with aiohttp.ClientSession() as http:
            while (now := time.monotonic()) - began < self._seconds:
                if publishing.done():
                    publishing.result()
                for worker in workers:
                    assert worker.status is None, f"{worker.name} has ended with status {worker.status}; its log is {worker.log}"
                    await worker.is_ready(http)
                    self.samples.setdefault(worker.name, []).append(take_sample(worker.pid, now - began))
                if now - reported >= REPORT_SECONDS:
                    reported = now
                    memory = ", ".join(f"{name} {samples[-1].memory_mib:.0f} MiB" for name, samples in self.samples.items())
                    _report(f"{(now - began) / 60:.0f} min: {self._published} requests, {len(ledger.outcomes)} outcomes; {memory}")
                await ledger.read_on(SAMPLE_SECONDS)

    async def _drain(self) -> None:
        """Wait for runs in progress: no longer than the load lasted, and at least as long as any test waits."""
        deadline = Deadline(max(WAIT_SECONDS, self._seconds))
        while self._service.verifier.unanswered() and not deadline.passed:
            await self._service.ledger.read_on(SAMPLE_SECONDS)

    async def _publish_steadily(self) -> None:
        """Publish at a steady rate, whatever the outcomes are."""
        due = time.monotonic()
        while True:
            await self._publish(self._published)
            self._published += 1
            due += self._pause
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _publish(self, number: int) -> None:
        match number % 10:
            case 2:
                await self._new(TWO_SPANS)
            case 4:
                await self._new(CORRUPT)
            case 5:
                await self._new(SMALL, priority=Priority.LOW)
            case 7:
                await self._service.submit(*self._videos[-3], event_id=str(uuid4()))  # its run is finished, or joined
            case 8:
                await self._service.submit(uuid4(), 1)  # too short for a pair
            case 9:
                await self._service.send(b"no request", str(number).encode())
            case _:
                await self._new(SMALL)

    async def _new(self, content: Video, **fields: object) -> None:
        video_id = await self._service.add(content)
        await self._service.submit(video_id, content.frame_count, **fields)
        self._videos.append((video_id, content.frame_count))
        del self._videos[:-10]


async def soak(stack: OwnedStack, seconds: float, per_minute: float) -> int:
    """Run it, print the table, and write the figures. Return the exit status."""
    async with installed(stack, SETTINGS, FOLDER) as service:
        run = Soak(service, seconds, per_minute)
        await run.run()
    growths = [item for name, samples in run.samples.items() for item in growth(name, samples)]
    _write(table(growths) + "\n")
    samples = {
        name: [(item.seconds, item.memory_mib, item.descriptors, item.threads) for item in some] for name, some in run.samples.items()
    }
    FIGURES.write_text(json.dumps({"minutes": seconds / 60, "growth": as_json(growths), "samples": samples}) + "\n")
    _report(f"verified; figures are in {FIGURES}")
    if growing := [f"{item.process}: {item.measure}" for item in growths if item.too_much]:
        _report(f"these grow: {'; '.join(growing)}")
    return 1 if growing else 0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60, help="how long the load lasts (default: 60)")
    parser.add_argument("--per-minute", type=float, default=60, help="requests published in a minute (default: 60)")
    options = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for log in FOLDER.glob("*.log"):
        log.unlink()
    folder = Path(tempfile.mkdtemp(prefix="stack-", dir=FOLDER))
    with owned(folder, throwaway=True, progress=_report) as stack:
        sys.exit(asyncio.run(soak(stack, 60 * options.minutes, options.per_minute)))


def _report(text: str) -> None:
    _write(f"soak: {text}\n")


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
