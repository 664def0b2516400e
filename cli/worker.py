"""``extents worker``: run one process of the service."""

import os
import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING, Final

import click
from mode.worker import Worker

from core.logging import configure_logging, get_logger
from core.settings import ROLE_SECTIONS, Settings
from streams.health import EXIT_HUNG

if TYPE_CHECKING:
    from streams.app import ExtentsApp

log = get_logger(__name__)

STOP_SECONDS: Final = 170.0
"""So long may the last GPU call and the sending of its result take, within a grace period of three minutes."""
CRASH_SECONDS: Final = 15.0
"""After a crash nothing has to be finished; what is in flight comes again."""


@click.command(
    epilog="""\b
Examples:
  extents worker coordinator
  extents worker gpu
  faust -A streams.apps.gpu worker --without-web   (the same by Faust's own command)
\b
Exit status 0 after SIGTERM or SIGINT, 143 or 130 at once after a second one, 1 after an error, 70 when a step hung.
\b
Settings: all of docs/configuration.md."""
)
@click.argument("role", type=click.Choice(tuple(ROLE_SECTIONS)))
def command(role: str) -> None:
    """Run one worker process until it is told to stop.

    The coordinator admits requests, aggregates results and finishes runs. A GPU worker predicts spans, on a CUDA device
    when there is one and on the CPU otherwise. Start as many of each as the load asks for: partitions are shared among them.
    """
    settings = Settings().check(ROLE_SECTIONS[role])
    configure_logging(settings.process)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # imports take seconds, and nothing has been started yet
    app = _create(role, settings)
    _Worker(app, loglevel=None, override_logging=False, redirect_stdouts=False).execute_from_commandline()


class _Worker(Worker):
    """Stops in good order at the first signal, and ends at once at the second: what is not acknowledged comes again.

    An end that is not reached is cut short. mode 0.7.1 may wait for ever after a crash: the consumer's thread, which the
    crash has ended, is asked to commit once more.
    """

    async def stop(self) -> None:
        limit_seconds, status = (CRASH_SECONDS, 1) if self.crashed else (STOP_SECONDS, EXIT_HUNG)
        timer = threading.Timer(limit_seconds, _cut_short, (limit_seconds, status))
        timer.daemon = True
        timer.start()
        await super().stop()

    def _on_sigint(self) -> None:
        self._schedule_shutdown(signal.SIGINT)

    def _schedule_shutdown(self, received: signal.Signals) -> None:
        for one in (signal.SIGTERM, signal.SIGINT):
            self.loop.remove_signal_handler(one)
            signal.signal(one, _end_at_once)  # whatever the event loop is doing
        log.info("worker.stopping", signal=received.name)
        super()._schedule_shutdown(received)


def _cut_short(limit_seconds: float, status: int) -> None:
    log.critical("worker.cut_short", limit_seconds=limit_seconds, status=status)
    os._exit(status)


def _end_at_once(number: int, _: FrameType | None) -> None:
    os._exit(128 + number)


def _create(role: str, settings: Settings) -> "ExtentsApp":
    # Each role imports only its own: the coordinator runs where there is no torch.
    if role == "coordinator":
        from streams.coordinator import create_coordinator

        return create_coordinator(settings)
    from streams.gpu_worker import create_gpu_worker

    return create_gpu_worker(settings)
