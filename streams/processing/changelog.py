"""Folds the records of a changelog in the consumer's thread, so that the event loop does not handle each record."""

from collections.abc import Callable
from dataclasses import dataclass, field

import orjson
from aiokafka import ConsumerRecord


@dataclass(slots=True)
class Changes:
    """The changes of one partition.

    Attributes:
        last: the last record. Faust measures the progress of the recovery by its offset.
        values: the resulting value of each key, by the kind of the key, in the order of the values' records.
        removed: keys that had a tombstone. If such a key has a value in ``values``, the value came after the tombstone.
        outdated: keys whose last record holds an older state than ``values``.
    """

    partition: int
    last: ConsumerRecord
    values: dict[str, dict[bytes, bytes]] = field(default_factory=dict)
    removed: set[bytes] = field(default_factory=set)
    outdated: set[bytes] = field(default_factory=set)


def fold_changes(records: list[ConsumerRecord], kind_of: Callable[[bytes, bytes], str]) -> Changes:
    """Fold the records of one partition, in their order. Records without a key are skipped, because no table writes them."""
    latest: dict[bytes, bytes] = {}
    changes = Changes(records[-1].partition, records[-1])
    for record in records:
        key, value = record.key, record.value
        if key is None:
            continue
        if value is None:
            latest.pop(key, None)
            changes.removed.add(key)
            changes.outdated.discard(key)
        elif key not in latest:
            latest[key] = value
        elif replaces(key, value, latest[key]):
            del latest[key]  # it moves to the end
            latest[key] = value
            changes.outdated.discard(key)
        else:
            changes.outdated.add(key)
    for key, value in latest.items():
        changes.values.setdefault(kind_of(key, value), {})[key] = value
    return changes


def replaces(key: bytes, value: bytes, stored: bytes) -> bool:
    """Whether a value read from a changelog replaces the stored one. A run's state does not if its offset is lower.

    A superseded process that resumes may send a change after everything that its successor has written.
    """
    if b"/" in key:
        return True
    try:
        return not orjson.loads(value)["offset"] < orjson.loads(stored)["offset"]
    except (ValueError, TypeError, KeyError):  # one of them is not a valid state; that is handled when the later one is read
        return True
