"""A Faust table whose changes are confirmed by the brokers before a record is acknowledged."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final, cast

import faust
import orjson
from aiokafka.errors import KafkaError
from faust.types import EventT, FutureMessage

from core.logging import get_logger

log = get_logger(__name__)

FORGOTTEN_AT_ONCE: Final = 5_000
"""Keys of lost partitions; a million are forgotten in between the loop's other work."""


class ConfirmedTable(faust.Table[bytes, bytes]):
    """A table that can wait until the brokers have confirmed every change.

    Plain Faust does not wait for changes to be sent, so offsets can be committed before their changes are stored.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._unconfirmed: dict[bytes, FutureMessage] = {}
        cast(Any, self.data)._key_partition = _Unkept()  # Faust goes through all of them at every rebalance; ``changed`` replaces it
        self.outdated: set[bytes] = set()
        """Keys whose last changelog record may be older than our state. Compaction would keep the older one."""
        self.changed: Callable[[int, bytes, bytes | None], None] = lambda partition, key, value: None
        """Called with every change of the table, whether made here or read from its changelog."""

    def send_changelog(self, partition: int | None, key: Any, value: Any, *args: Any, **options: Any) -> FutureMessage:
        # Order within a partition is kept, so a key's last change confirms the earlier ones.
        self._unconfirmed[key] = future = super().send_changelog(partition, key, value, *args, **options)
        self.changed(cast(int, future.message.partition), key, value)
        return future

    def apply_changelog_batch(self, batch: Iterable[EventT[bytes]]) -> None:
        """Apply changes as Faust does, but never replace a state of a run by an older one.

        A superseded process may send a change when it resumes, after everything that its successor has written.
        """
        for event in batch:
            key, value = cast(bytes, event.key), cast(bytes | None, event.value)
            if b"/" in key or not _is_older(value, self.data.get(key)):
                super().apply_changelog_batch([event])
                self.changed(event.message.partition, key, value)
                self.outdated.discard(key)
            else:
                self.outdated.add(key)

    def rewrite_outdated(self, partition_of: Callable[[bytes], int]) -> None:
        """Send the current values of outdated keys to the changelog again."""
        for key in self.outdated & self.data.keys():
            self.send_changelog(partition_of(key), key, self.data[key], value_serializer="raw")
        self.outdated.clear()

    async def forget(self, keys: Iterable[bytes]) -> None:
        """Drop keys of lost partitions without writing to their changelog and without blocking the event loop.

        The keys are removed from the underlying store, because the table would send tombstones that delete the new owner's values.
        Failed changes of these keys are not sent again.
        """
        stored = cast(dict[bytes, Any], cast(Any, self.data).data)
        for number, key in enumerate(keys, 1):
            stored.pop(key, None)
            self._unconfirmed.pop(key, None)
            if number % FORGOTTEN_AT_ONCE == 0:
                await asyncio.sleep(0)

    async def confirmed(self) -> None:
        """Wait until the brokers have confirmed all changes made so far."""
        for key, future in list(self._unconfirmed.items()):
            await self._confirm(key, future)

    async def _confirm(self, key: bytes, future: FutureMessage) -> None:
        """Wait for one change or a later change of the same key. Failed changes are resent until they succeed."""
        while True:
            try:
                await asyncio.shield(future)
            except KafkaError as error:
                log.warning("changelog.retried", error=repr(error))
                await asyncio.sleep(1.0)
                latest = self._unconfirmed.get(key)
                if latest is None:
                    return
                if latest is future:
                    value = self.data.get(key)
                    latest = self.send_changelog(future.message.partition, key, value, value_serializer="raw")
                future = latest
            else:
                if self._unconfirmed.get(key) is future:
                    del self._unconfirmed[key]
                return


class _Unkept(dict[bytes, int]):
    """Keeps nothing."""

    def __setitem__(self, key: bytes, partition: int) -> None:
        """Forget it at once."""


def _is_older(state: bytes | None, stored: bytes | None) -> bool:
    """Whether a state has a lower offset than the stored one."""
    if state is None or stored is None:
        return False
    try:
        return bool(orjson.loads(state)["offset"] < orjson.loads(stored)["offset"])
    except (ValueError, TypeError, KeyError):  # one of them is no state; the reader of the later one handles that
        return False
