"""Chooses ports on 127.0.0.1 for servers that are about to start."""

import random
import socket
from collections.abc import Mapping
from typing import Final

HOST: Final = "127.0.0.1"

_FREE_RANGE: Final = range(15_000, 32_000)
"""Below Linux's range for outgoing connections (32768 and up), so that no client takes a port between its choice here
and its server's bind."""


def choose_ports(names: list[str], preferred: Mapping[str, int]) -> dict[str, int]:
    """Return a distinct port for every name: the preferred one if it is free, otherwise any free one."""
    chosen: dict[str, int] = {}
    for name in names:
        port = preferred.get(name)
        if port is None or port in chosen.values() or not is_free(port):
            port = _any_free(set(chosen.values()) | set(preferred.values()))
        chosen[name] = port
    return chosen


def is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT can be bound by servers
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _any_free(taken: set[int]) -> int:
    while True:
        port = random.choice(_FREE_RANGE)
        if port not in taken and is_free(port):
            return port
