"""Keeps workers running as an orchestrator does while videos come in: a worker that ends is restarted and reported."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Self

from aiokafka.errors import KafkaError

from tests.chaos.fleet import GROUPS, ROLES
from tests.chaos.load import Load
from tests.patience import Deadline
from tests.service.installation import Installation
from tests.service.processes import WAIT_SECONDS, Role, Worker

PROBE_FRAMES: Final = 40
IN_FLIGHT: Final = 4


@dataclass(slots=True)
class Upkeep:
    """Two workers of each role, which have joined their groups once this is entered. They end with the installation.

    Attributes:
        fault: the current fault, or the last one.
        ends: how often a worker has ended by itself, by fault, role and status.
    """

    service: Installation
    load: Load
    fault: str = "nothing"
    ends: Counter[str] = field(default_factory=Counter)
    workers: list[tuple[Role, Worker]] = field(default_factory=list)
    _publishing: "asyncio.Task[None]" = field(init=False)

    async def __aenter__(self) -> Self:
        self.workers = [(role, self.service.processes.start(role)) for role in ROLES for _ in range(2)]
        await self.joined()
        self._publishing = asyncio.create_task(self._publish())
        return self

    async def __aexit__(self, error: type[BaseException] | None, *rest: object) -> None:
        """Stop the load. Kill what is left after a failure, so that it does not disturb the next test."""
        await self.end_load()
        if error is not None:
            for _, worker in self.workers:
                worker.kill()

    async def end_load(self) -> None:
        """Stop publishing videos."""
        self._publishing.cancel()
        await asyncio.gather(self._publishing, return_exceptions=True)

    async def stop(self) -> None:
        """Stop all workers with SIGTERM; they end with status 0."""
        statuses = [await worker.stopped() for _, worker in self.workers]
        assert set(statuses) == {0}, f"stopped, the workers ended with {statuses}\n{self.service.processes.tails()}"

    async def joined(self) -> None:
        """Wait until every worker is a member of its group and no group is rebalancing."""
        counts = Counter(role for role, _ in self.workers)
        deadline = Deadline(WAIT_SECONDS)
        while (members := await self._members()) != counts:
            assert not deadline.passed, f"members are {members}, not {counts}\n{self.service.processes.tails()}"
            await self.go_on(0.2)

    async def recovery_seconds(self) -> float:
        """Publish a video and wait for its outcome. Return the seconds that both took."""
        began = time.monotonic()
        probe = await self.probe()
        await self.until(f"the outcome of a video after {self.fault}", lambda: probe not in self.load.unanswered())
        return time.monotonic() - began

    async def probe(self) -> Any:
        """Publish a video, and retry for as long as the brokers refuse it."""
        while True:
            publishing = asyncio.create_task(self.load.publish([PROBE_FRAMES]))
            await self.until(f"a video to be published after {self.fault}", publishing.done)
            with contextlib.suppress(KafkaError):
                return publishing.result()[0]

    async def until(self, awaited: str, condition: Callable[[], object]) -> None:
        """Raises: AssertionError."""
        deadline = Deadline(WAIT_SECONDS)
        while not condition():
            assert not deadline.passed, f"waited without success for {awaited}\n{self.service.processes.tails()}"
            await self.go_on(0.1)

    async def go_on(self, seconds: float) -> None:
        """Read the ledger for this long, and restart workers that have ended."""
        deadline = time.monotonic() + seconds
        while (remaining := deadline - time.monotonic()) > 0:
            await self.service.ledger.read_on(min(remaining, 0.2))
            for number, (role, worker) in enumerate(self.workers):
                if worker.status is not None:
                    self.ends[f"{self.fault}: {role}, status {worker.status}"] += 1
                    self.workers[number] = (role, self.service.processes.start(role))

    async def _members(self) -> Counter[Role]:
        with contextlib.suppress(KafkaError):  # the broker that coordinates the group is not back yet
            return Counter({role: await self.service.ledger.members(group) for role, group in GROUPS.items()})
        return Counter()

    async def _publish(self) -> None:
        while True:
            with contextlib.suppress(KafkaError):  # whether such a request was taken is seen in its topic
                await self.load.keep_in_flight(IN_FLIGHT)
            await asyncio.sleep(0.2)
