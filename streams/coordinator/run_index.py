"""Which keys of the table of runs belong to which partition, and which of them are runs in flight.

Kept up with every change, so that a rebalance costs what is in flight and what is lost, however many markers there are.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from streams.policy.run_state import RunState


class RunIndex:
    def __init__(self) -> None:
        self._keys: dict[int, set[bytes]] = defaultdict(set)
        self._in_flight: dict[int, set[bytes]] = defaultdict(set)

    def note(self, partition: int, key: bytes, value: bytes | None) -> None:
        """A key was set or removed."""
        if value is None:
            self._keys[partition].discard(key)
            self._in_flight[partition].discard(key)
            return
        self._keys[partition].add(key)
        if b"/" in key:
            return
        if RunState.is_marker_text(value):
            self._in_flight[partition].discard(key)
        else:
            self._in_flight[partition].add(key)

    def drop_all_but(self, partitions: Iterable[int]) -> Iterator[bytes]:
        """Forget the keys of all other partitions, one with each step. What is left after a step is still known here."""
        for lost in self._keys.keys() - set(partitions):
            self._in_flight.pop(lost, None)
            keys = self._keys[lost]
            while keys:
                yield keys.pop()
            del self._keys[lost]

    def in_flight(self) -> list[bytes]:
        """Keys of the runs that are more than a marker."""
        return [key for keys in self._in_flight.values() for key in keys]

    def runs(self, partition: int) -> list[bytes]:
        """Keys of all runs of a partition, in flight or not."""
        return [key for key in self._keys[partition] if b"/" not in key]
