"""Runs an app as a process: handles signals and bounds the shutdown."""

import os
import signal
import threading
from types import FrameType
from typing import Final

from mode.worker import Worker

from core.logging import get_logger
from streams.processing.app import ExtentsApp
from streams.runtime.health import EXIT_HUNG

log = get_logger(__name__)

STOP_SECONDS: Final = 170.0
"""Time for the last GPU call and for sending its result, within a grace period of three minutes."""
CRASH_SECONDS: Final = 15.0
"""After a crash nothing has to be finished; records in flight are redelivered."""


def run_worker(app: ExtentsApp) -> None:
    """Run the app until a signal or a crash ends it. Does not return."""
    _Worker(app, loglevel=None, override_logging=False, redirect_stdouts=False).execute_from_commandline()


class _Worker(Worker):
    """Stops gracefully at the first signal and immediately at the second. Unacknowledged records are redelivered.

    Shutdown is forced after a timeout: after a crash mode 0.7.1 may wait forever for a last commit by the consumer's thread, which
    the crash has ended.
    """

    async def stop(self) -> None:
        limit_seconds, status = (CRASH_SECONDS, 1) if self.crashed else (STOP_SECONDS, EXIT_HUNG)
        timer = threading.Timer(limit_seconds, _force_exit, (limit_seconds, status))
        timer.daemon = True
        timer.start()
        await super().stop()

    def _on_sigint(self) -> None:
        self._schedule_shutdown(signal.SIGINT)

    def _schedule_shutdown(self, received: signal.Signals) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self.loop.remove_signal_handler(number)
            signal.signal(number, _exit_now)  # whatever the event loop is doing
        log.info("worker.stopping", signal=received.name)
        super()._schedule_shutdown(received)


def _force_exit(limit_seconds: float, status: int) -> None:
    log.critical("worker.exit_forced", limit_seconds=limit_seconds, status=status)
    os._exit(status)


def _exit_now(number: int, _: FrameType | None) -> None:
    os._exit(128 + number)
