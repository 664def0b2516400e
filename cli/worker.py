"""``extents worker``: run one process of the service."""

from typing import TYPE_CHECKING, Final

import click
from mode.worker import Worker

from core.logging import configure_logging
from core.settings import ALL_SECTIONS, GPU_WORKER_SECTIONS, Settings

if TYPE_CHECKING:
    from streams.app import ExtentsApp

ROLES: Final = ("coordinator", "gpu")


@click.command(
    epilog="""\b
Examples:
  extents worker coordinator
  extents worker gpu
  faust -A streams.apps.gpu worker --without-web   (the same by Faust's own command)
\b
Exit status 0 after SIGTERM, 1 after an error, 70 when a step hung.
\b
Settings: all of docs/configuration.md."""
)
@click.argument("role", type=click.Choice(ROLES))
def command(role: str) -> None:
    """Run one worker process until it is told to stop.

    The coordinator admits requests, aggregates results and finishes runs. A GPU worker predicts spans, on a CUDA device
    when there is one and on the CPU otherwise. Start as many of each as the load asks for: partitions are shared among them.
    """
    settings = Settings().check(GPU_WORKER_SECTIONS if role == "gpu" else ALL_SECTIONS)
    configure_logging(settings.process)
    app = _create(role, settings)
    Worker(app, loglevel=None, override_logging=False, redirect_stdouts=False).execute_from_commandline()


def _create(role: str, settings: Settings) -> "ExtentsApp":
    # Each role imports only its own: the coordinator runs where there is no torch.
    if role == "coordinator":
        from streams.coordinator import create_coordinator

        return create_coordinator(settings)
    from streams.gpu_worker import create_gpu_worker

    return create_gpu_worker(settings)
