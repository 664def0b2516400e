"""Runs an app as a process: handles signals, limits the shutdown, and logs the cause of a failure as its last line."""

import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Final

from mode.worker import Worker

from core.errors import ExtentsError
from core.logging import get_logger
from streams.processing.app import ExtentsApp

log = get_logger(__name__)

STOP_SECONDS: Final = 15.0
"""Limit for a shutdown while nothing computes, even if a dependency is unreachable. Records in flight are redelivered."""
CRASH_SECONDS: Final = 15.0
"""Limit for a shutdown after a crash. Nothing has to be finished: records in flight are redelivered."""
FAILED: Final = 1


def run_worker(app: ExtentsApp) -> None:
    """Run the app until a signal or a crash ends it. Does not return.

    After an error the process ends at once, with status 1, so that the cause is the last line of its log. Otherwise libraries
    might log more while they are torn down.
    """
    worker = _Worker(app)
    try:
        worker.execute_from_commandline()
    except SystemExit as ended:
        if ended.code in (None, 0):
            raise
        worker.fail(worker.crash_reason or ended.__context__)
    except BaseException as error:
        worker.fail(error)


class _Worker(Worker):
    """Stops gracefully at the first signal and immediately at the second. Unacknowledged records are redelivered.

    Shutdown is forced after a timeout: brokers may be unreachable, and after a crash mode 0.7.1 may wait forever for a last commit
    by the consumer's thread, which the crash has ended.
    """

    def __init__(self, app: ExtentsApp) -> None:
        super().__init__(app, loglevel=None, override_logging=False, redirect_stdouts=False)
        self._app = app
        self._stopping = False

    async def stop(self) -> None:
        self._force_end_in_time()
        await super().stop()

    def fail(self, reason: BaseException | None) -> None:
        """End the process at once. The last line of its log gives the reason."""
        log.critical("worker.failed", cause=in_words(reason), status=FAILED)
        sys.stderr.flush()
        os._exit(FAILED)

    def _on_sigint(self) -> None:
        self._schedule_shutdown(signal.SIGINT)

    def _schedule_shutdown(self, received: signal.Signals) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self.loop.remove_signal_handler(number)
            signal.signal(number, _exit_now)  # whatever the event loop is doing
        log.info("worker.stopping", signal=received.name)
        if not self._app.begun:
            os._exit(0)  # it has read nothing yet
        self._force_end_in_time()  # already here, because the event loop may be blocked before it calls ``stop``
        super()._schedule_shutdown(received)

    def _force_end_in_time(self) -> None:
        if self._stopping:
            return
        self._stopping = True
        threading.Thread(target=self._watch_stop, name="stop", daemon=True).start()

    def _watch_stop(self) -> None:
        """End the process if the stop takes too long. Runs in a thread.

        The time of a step that computes does not count, since such a step has a limit of its own.
        """
        crashed = self.crashed
        limit_seconds = CRASH_SECONDS if crashed else STOP_SECONDS
        since = time.monotonic()
        while time.monotonic() - since < limit_seconds:
            time.sleep(0.1)
            if not crashed and self._app.is_computing():
                since = time.monotonic()
        if self.crash_reason is not None:
            self.fail(self.crash_reason)
        log.warning("worker.stop_cut_short", limit_seconds=limit_seconds)
        sys.stderr.flush()
        os._exit(0)


def in_words(reason: BaseException | None) -> str:
    """Describe the error that ended a process."""
    if reason is None:
        return "it ended without an error"
    if isinstance(reason, MemoryError):
        return f"out of memory: {reason}".rstrip(": ")
    return str(reason) if isinstance(reason, ExtentsError) else f"unexpected {type(reason).__name__}: {reason}"


def _exit_now(number: int, _: FrameType | None) -> None:
    os._exit(128 + number)
