"""The content of a table in memory, by partition and kind of key.

Listing the keys of one kind after a rebalance therefore takes no longer if there are many keys of other kinds.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

DROPPED_AT_ONCE = 5_000
"""Keys of lost partitions that are dropped at a time, because a million at once would block the event loop."""


class PartitionedValues(Mapping[bytes, bytes]):
    """Keys and values. Those of one partition and kind are in the order in which they were written.

    A lookup tries one dictionary after the other: there are only dozens, so that is faster than hashing the key to its partition.
    """

    def __init__(self) -> None:
        self._by_partition: dict[int, dict[str, dict[bytes, bytes]]] = defaultdict(dict)

    def __getitem__(self, key: bytes) -> bytes:
        for kinds in self._by_partition.values():
            for values in kinds.values():
                if key in values:
                    return values[key]
        raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        return any(key in values for kinds in self._by_partition.values() for values in kinds.values())

    def __iter__(self) -> Iterator[bytes]:
        return (key for kinds in self._by_partition.values() for values in kinds.values() for key in values)

    def __len__(self) -> int:
        return sum(len(values) for kinds in self._by_partition.values() for values in kinds.values())

    def put(self, partition: int, kind: str, key: bytes, value: bytes) -> None:
        """Set a key, which becomes the last of its kind."""
        self.remove(partition, key)
        self._by_partition[partition].setdefault(kind, {})[key] = value

    def put_new(self, partition: int, kind: str, new: dict[bytes, bytes]) -> None:
        """Set keys in bulk. The partition must not hold any of them yet."""
        self._by_partition[partition].setdefault(kind, {}).update(new)

    def remove(self, partition: int, key: bytes) -> None:
        for values in self._by_partition[partition].values():
            values.pop(key, None)

    def held_of(self, partition: int, keys: Iterable[bytes]) -> set[bytes]:
        """Return those of the keys that the partition holds."""
        wanted = set(keys)
        return {key for values in self._by_partition[partition].values() for key in values.keys() & wanted}

    def keys_of(self, kind: str, partition: int | None = None) -> list[bytes]:
        """Return the keys of one kind, of one partition or of all. Those of a partition are in the order in which they were written."""
        partitions = self._by_partition if partition is None else [partition]
        return [key for number in partitions for key in self._by_partition[number].get(kind, ())]

    def drop_all_but(self, partitions: Iterable[int]) -> Iterator[None]:
        """Drop the keys of all other partitions step by step. If the caller stops early, the next call drops the rest."""
        for lost in self._by_partition.keys() - set(partitions):
            for values in self._by_partition[lost].values():
                while values:
                    for _ in range(min(DROPPED_AT_ONCE, len(values))):
                        values.popitem()
                    yield
            del self._by_partition[lost]
