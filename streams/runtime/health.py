"""Reports over HTTP whether this process is alive and ready, next to its metrics.

The process is alive while no running step exceeds its limit, the event loop runs, and no registered fault is present. Waiting (for
a dependency, for higher priority, for a rebalance) is not a fault; it shows in readiness.
"""

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final, Self

from aiohttp import web
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import choose_encoder

from core.errors import ConfigurationError
from core.logging import get_logger
from core.redaction import redact
from core.settings import ProcessSettings, variable
from streams.runtime.connection_limits import ConnectionLimits

log = get_logger(__name__)

EXIT_HUNG: Final = 70
"""EX_SOFTWARE of sysexits.h: a step that cannot be interrupted has hung, and only a new process helps."""

SHUTDOWN_SECONDS: Final = 1.0
"""How long an open response, such as a page that follows events, may continue once the process stops."""

LOOP_LIMIT_SECONDS: Final = 30.0
"""An event loop that has not run for this long counts as blocked."""


@dataclass(frozen=True, slots=True)
class _Step:
    name: str
    detail: str
    started: float
    limit_seconds: float
    fatal: bool
    setting: str

    @property
    def overdue_seconds(self) -> float:
        return time.monotonic() - self.started - self.limit_seconds

    @property
    def limit(self) -> str:
        return f"its limit of {self.limit_seconds:.0f} s" + (f" ({self.setting})" if self.setting else "")


class Health:
    """The running steps and the registered faults and waits. Safe to use from any thread."""

    def __init__(self) -> None:
        self._steps: dict[object, _Step] = {}
        self._faults: dict[str, Callable[[], str | None]] = {}
        self._waits: dict[str, Callable[[], str | None]] = {}
        self._last_turn = time.monotonic()

    @contextlib.contextmanager
    def step(self, name: str, limit_seconds: float, detail: str = "", *, fatal: bool = False, setting: str = "") -> Iterator[None]:
        """Mark a step as running.

        Args:
            limit_seconds: a longer run counts as a fault.
            fatal: the step cannot be interrupted, so exceeding the limit ends the process with status 70.
            setting: the variable that sets the limit, named when it is exceeded.
        """
        token = object()
        self._steps[token] = _Step(name, detail, time.monotonic(), limit_seconds, fatal, setting)
        try:
            yield
        finally:
            del self._steps[token]

    def not_alive(self) -> list[str]:
        """Return why the process is not alive, as ``/healthz`` and the heartbeats report it."""
        return [redact(reason) for reason in self.faults()]

    def not_ready(self) -> list[str]:
        """Return what the process waits for, as ``/readyz`` and the heartbeats report it."""
        return [redact(reason) for reason in self.waits()]

    def add_fault(self, name: str, check: Callable[[], str | None]) -> None:
        """Register a condition under which the process is not alive; ``check`` returns the reason, or None."""
        self._faults[name] = check

    def add_wait(self, name: str, check: Callable[[], str | None]) -> None:
        """Register something the process may wait for; ``check`` returns the reason, or None."""
        self._waits[name] = check

    def note_loop_turn(self) -> None:
        """Record that the event loop has just run."""
        self._last_turn = time.monotonic()

    def faults(self) -> list[str]:
        overdue = [step for step in list(self._steps.values()) if step.overdue_seconds > 0]
        messages = [f"{step.name} {step.detail} runs {step.overdue_seconds:.0f} s over {step.limit}" for step in overdue]
        blocked = self.blocked()
        return messages + ([blocked] if blocked else []) + _reasons(self._faults)

    def blocked(self) -> str | None:
        stalled_seconds = time.monotonic() - self._last_turn
        return f"the event loop has not run for {stalled_seconds:.0f} s" if stalled_seconds > LOOP_LIMIT_SECONDS else None

    def waits(self) -> list[str]:
        return _reasons(self._waits)

    def running(self) -> list[str]:
        return [f"{step.name} {step.detail}" for step in list(self._steps.values())]

    def is_running(self, name: str) -> bool:
        """Whether a step of this name is running."""
        return any(step.name == name for step in list(self._steps.values()))

    def hung(self) -> str | None:
        """Return a description of a fatal step that is over its limit; None if there is none."""
        overdue = [step for step in list(self._steps.values()) if step.fatal and step.overdue_seconds > 0]
        return next((f"{step.name} {step.detail}".rstrip() + f", over {step.limit}" for step in overdue), None)


def _reasons(checks: dict[str, Callable[[], str | None]]) -> list[str]:
    results = ((name, check()) for name, check in list(checks.items()))
    return [f"{name}: {result}" for name, result in results if result]


class HealthServer:
    """Serves /metrics, /healthz and /readyz while entered, and watches for hung steps from its own thread."""

    def __init__(
        self,
        health: Health,
        host: str,
        port: int,
        mounted: Mapping[str, web.Application] | None = None,
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        self._health, self._host, self._port, self._mounted = health, host, port, mounted or {}
        self._registry = registry
        self._closed = threading.Event()
        self._opened = AsyncExitStack()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.add_routes([web.get("/metrics", self._metrics), web.get("/healthz", self._healthz), web.get("/readyz", self._readyz)])
        for path, application in self._mounted.items():
            app.add_subapp(path, application)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
        await runner.setup()
        self._opened.push_async_callback(runner.cleanup)
        assert runner.server is not None
        try:
            server = await asyncio.get_running_loop().create_server(ConnectionLimits(runner.server), self._host, self._port)
        except OSError as error:
            await self._opened.aclose()
            names = f"{variable(ProcessSettings, 'http_host')} and {variable(ProcessSettings, 'http_port')}"
            raise ConfigurationError(f"cannot listen on {self._host}:{self._port}: {error.strerror}; set {names}") from error
        self._opened.callback(server.close)
        addresses = [socket.getsockname() for socket in server.sockets]
        log.info("http.listening", addresses=[f"http://{address[0]}:{address[1]}" for address in addresses])
        turning = asyncio.create_task(self._turn())
        self._opened.callback(turning.cancel)
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        self._opened.callback(self._closed.set)
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._opened.aclose()

    async def _turn(self) -> None:
        while True:
            self._health.note_loop_turn()
            await asyncio.sleep(1.0)

    def _watch(self) -> None:
        logged = False
        while not self._closed.wait(0.5):
            blocked = self._health.blocked()  # /healthz cannot respond then
            if blocked and not logged:
                log.critical("process.blocked", reason=blocked, running=self._health.running())
            logged = blocked is not None
            hung = self._health.hung()
            if hung is not None:
                log.critical("process.hung", step=hung, status=EXIT_HUNG)
                os._exit(EXIT_HUNG)

    async def _metrics(self, request: web.Request) -> web.Response:
        """Return the metrics as text, or as OpenMetrics, which carries exemplars, if the client accepts it."""
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return _last(web.Response(body=encode(self._registry), headers={"Content-Type": content_type}))

    async def _healthz(self, _: web.Request) -> web.Response:
        return _response(self._health.not_alive())

    async def _readyz(self, _: web.Request) -> web.Response:
        return _response(self._health.not_alive() + self._health.not_ready())


def _response(reasons: list[str]) -> web.Response:
    body = {"status": "fault" if reasons else "ok", "reasons": reasons}
    return _last(web.json_response(body, status=503 if reasons else 200))


def _last(response: web.Response) -> web.Response:
    """Close the connection after this response."""
    response.force_close()
    return response
