"""Several workers of each role: killed, replaced, added and stopped, and how long until their groups were stable again."""

import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Literal, Self

import aiohttp

from devstack.part import tail
from tests.patience import Deadline
from tests.service.installation import Installation
from tests.service.processes import WAIT_SECONDS, Role, Worker

GROUPS: Final[dict[Role, str]] = {"coordinator": "coordinator", "gpu": "gpu-worker"}
ROLES: Final[tuple[Role, ...]] = ("coordinator", "gpu")

Meanwhile = Callable[[], Awaitable[object]]


@dataclass(eq=False, slots=True)
class Disturbance:
    """A change in the membership of a group, from its beginning until the group was stable again.

    Attributes:
        worker: who was killed, started or stopped.
        began, ended: seconds since 1970; ``ended`` is infinite while it lasts.
    """

    role: Role
    kind: Literal["kill", "start", "stop"]
    worker: Worker
    began: float
    ended: float = float("inf")


@dataclass(slots=True)
class Fleet:
    """The workers of one installation. Those that still run when it is closed end with the installation.

    Attributes:
        workers: those that are running.
        joined: those that have been members of their group.
    """

    service: Installation
    workers: dict[Role, list[Worker]] = field(default_factory=lambda: {role: [] for role in ROLES})
    joined: set[Worker] = field(default_factory=set)
    disturbances: list[Disturbance] = field(default_factory=list)
    _http: aiohttp.ClientSession = field(init=False)

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession()
        return self

    async def __aexit__(self, error: type[BaseException] | None, *rest: object) -> None:
        """Kill what is left after a failure, so that it does not disturb the next test."""
        await self._http.close()
        if error is not None:
            for worker in (worker for workers in self.workers.values() for worker in workers):
                worker.kill()

    @property
    def kills(self) -> list[Disturbance]:
        return [disturbance for disturbance in self.disturbances if disturbance.kind == "kill"]

    def start(self, role: Role, count: int = 1) -> list[Worker]:
        started = [self.service.processes.start(role) for _ in range(count)]
        self.workers[role] += started
        self._disturbed(role, "start", started)
        return started

    def kill(self, role: Role, victims: Iterable[Worker]) -> None:
        """Kill these workers with SIGKILL, and start as many new ones."""
        victims = list(victims)
        self._disturbed(role, "kill", victims)
        for worker in victims:
            worker.kill()
            self.workers[role].remove(worker)
        self.start(role, len(victims))

    async def stop(self, role: Role, workers: Iterable[Worker]) -> None:
        """Stop these workers with SIGTERM; they end with status 0."""
        leaving = list(workers)
        self._disturbed(role, "stop", leaving)
        for worker in leaving:
            self.workers[role].remove(worker)
            worker.terminate()
        for worker in leaving:
            status = await worker.ended()
            assert status == 0, f"{worker.name} was stopped and has ended with status {status}.\n{tail(worker.log)}"

    async def check(self) -> None:
        """Record which workers have joined since, and which groups are stable again. No worker may have ended by itself."""
        for role, workers in self.workers.items():
            for worker in workers:
                assert worker.status is None, f"{worker.name} has ended with status {worker.status}.\n{tail(worker.log)}"
                if worker not in self.joined and await worker.is_ready(self._http):
                    self.joined.add(worker)
            lasting = [disturbance for disturbance in self.lasting() if disturbance.role == role]
            # A worker that joined after a kill joined a group that had already removed the victim.
            if lasting and self.joined.issuperset(workers) and await self.service.ledger.members(GROUPS[role]) == len(workers):
                for disturbance in lasting:
                    disturbance.ended = time.time()

    def lasting(self) -> list[Disturbance]:
        return [disturbance for disturbance in self.disturbances if disturbance.ended == float("inf")]

    async def settled(self, meanwhile: Meanwhile | None = None) -> None:
        """Wait until every worker has joined and no group is rebalancing."""
        await self.check()
        await self.until("settled groups", lambda: not self.lasting(), meanwhile)

    async def until(self, awaited: str, condition: Callable[[], bool], meanwhile: Meanwhile | None = None) -> None:
        """Read the ledger and watch the workers until ``found``, while repeating an action.

        Raises:
            AssertionError: it does not come to pass; names ``what``. Or a worker has ended by itself.
        """
        deadline = Deadline(WAIT_SECONDS)
        while not condition():
            assert not deadline.passed, f"waited without success for {awaited}\n{self.service.processes.tails()}"
            if meanwhile is not None:
                await meanwhile()
            await self.service.ledger.read_on(0.2)
            await self.check()

    def _disturbed(self, role: Role, kind: Literal["kill", "start", "stop"], workers: Iterable[Worker]) -> None:
        began = time.time()
        self.disturbances += [Disturbance(role, kind, worker, began) for worker in workers]
