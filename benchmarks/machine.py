"""Describes the machine that a result was measured on. Without it a number means nothing."""

import os
import platform
from datetime import UTC, datetime

from inference.engine.device import describe_device, software_versions
from inference.engine.processor import cpu_has_bfloat16


def describe_machine(device: str = "cpu") -> dict[str, object]:
    """Return hardware, versions, time, and the load from other processes."""
    one_minute, five_minutes, fifteen_minutes = os.getloadavg()
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": describe_device(device),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(),
        "bfloat16_instructions": cpu_has_bfloat16(),
        "load_average": {
            "1 min": round(one_minute, 2),
            "5 min": round(five_minutes, 2),
            "15 min": round(fifteen_minutes, 2),
        },
        "versions": software_versions(device),
    }
