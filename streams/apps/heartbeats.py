"""The content of a worker's heartbeats: fields of both roles, and those that each role adds."""

import os
import socket
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any, Final
from uuid import uuid4

from core.settings import Settings
from streams.kafka.heartbeat_sender import HeartbeatSender
from streams.policy.heartbeats import Heartbeat
from streams.processing.app import ExtentsApp
from streams.runtime.health import Health
from streams.topics import Topics

REASON_LENGTH: Final = 500


def worker_name() -> str:
    """Host name and process id of this process."""
    return f"{socket.gethostname()}:{os.getpid()}"


def send_heartbeats(app: ExtentsApp, settings: Settings, role: str, health: Health, figures: Callable[[], Mapping[str, Any]]) -> None:
    """Have the app send heartbeats. They begin before its prerequisites are met.

    Args:
        figures: returns the current values of the fields that the role adds.
    """
    topics, every_seconds = Topics(settings.topics), settings.process.heartbeat_seconds
    instance, started = uuid4(), time.monotonic()
    fixed: dict[str, Any] = {
        "instance": instance,
        "worker": worker_name(),
        "role": role,
        "host": socket.gethostname(),
        "version": version("extents"),
    }

    def beat() -> Heartbeat:
        return Heartbeat(
            **fixed,
            uptime_seconds=time.monotonic() - started,
            beat_seconds=every_seconds,
            stopping=app.should_stop,
            faults=[reason[:REASON_LENGTH] for reason in health.not_alive()],
            waits=[reason[:REASON_LENGTH] for reason in health.not_ready()],
            **figures(),
        )

    app.manage_resource(HeartbeatSender(settings.kafka, topics.workers, every_seconds, beat, lambda: bool(app.crashed)))
