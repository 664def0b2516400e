"""``extents worker``: run one process of the service."""

import os
import signal
from typing import TYPE_CHECKING

import click

from core.logging import configure_logging, get_logger
from core.settings import ROLE_SECTIONS, Settings

if TYPE_CHECKING:
    from streams.processing.app import ExtentsApp

log = get_logger(__name__)


@click.command(
    epilog="""\b
Examples:
  extents worker coordinator
  extents worker gpu
  faust -A streams.apps.gpu_worker worker --without-web   (the same with Faust's own command)
\b
Exit status 0 after SIGTERM or SIGINT, 143 or 130 immediately after a second one, 1 after an error, 70 if a step hung.
\b
Settings: all of docs/configuration.md."""
)
@click.argument("role", type=click.Choice(tuple(ROLE_SECTIONS)))
def command(role: str) -> None:
    """Run one worker process until it is stopped.

    The coordinator admits requests, aggregates results and finishes runs. A GPU worker predicts spans, on a CUDA device if
    there is one, otherwise on the CPU. Start as many of each as the load requires; they share the partitions.
    """
    settings = Settings().check(ROLE_SECTIONS[role])
    configure_logging(settings.process)
    for sentence in settings.unknown():
        log.warning("settings.unknown_variable", error=sentence)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # imports take seconds, and nothing has been started yet
    from streams.processing.worker import run_worker

    run_worker(_create(role, settings))


def _create(role: str, settings: Settings) -> "ExtentsApp":
    # Each role imports only its own modules, because the coordinator runs without torch.
    if role == "coordinator":
        from streams.apps.coordinator import create_coordinator

        return create_coordinator(settings)
    from streams.apps.gpu_worker import create_gpu_worker

    return create_gpu_worker(settings)
