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
    """Return a distinct port for every name: the preferred one if it is free, otherwise any free one.

    For a minute, other calls do not choose the same free ports, in any process, whether a server has bound them by then or not.
    """
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
        if port not in taken and _reserve(port):
            return port


def _reserve(port: int) -> bool:
    """Leave a closed connection on a port, which Linux keeps for a minute in TIME_WAIT; False if the port is taken or reserved.

    Servers can bind such a port, because they set SO_REUSEADDR before they bind; this function does not, so it cannot.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        try:
            listener.bind((HOST, port))
        except OSError:
            return False
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # inherited by the connection: servers may share its port
        listener.listen(1)
        with socket.create_connection((HOST, port)):
            accepted, _ = listener.accept()
            accepted.close()  # the side that closes first is the one that stays in TIME_WAIT
        return True
