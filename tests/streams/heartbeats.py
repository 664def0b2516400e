"""Heartbeats as tests make them."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from streams.policy.heartbeats import Heartbeat, ReceivedBeat

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


def heartbeat(**fields: Any) -> Heartbeat:
    plain = {"instance": uuid4(), "worker": "gpu-1:17", "role": "gpu-worker", "host": "gpu-1", "version": "0.1.0"}
    return Heartbeat(**{**plain, "uptime_seconds": 60.0, "beat_seconds": 10.0, "device": "a device", **fields})


def received(age: timedelta = timedelta(0), now: datetime = NOW, **fields: Any) -> ReceivedBeat:
    return ReceivedBeat(heartbeat(**fields), now - age)
