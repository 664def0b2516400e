"""A Faust table whose changes are confirmed by the brokers before a record is acknowledged."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, cast

import faust
from aiokafka.errors import KafkaError
from faust.types import EventT, FutureMessage

from core.logging import get_logger
from streams.processing.changelog import Changes, replaces
from streams.processing.partitioned_values import PartitionedValues

log = get_logger(__name__)


class ConfirmedTable(faust.Table[bytes, bytes]):
    """A table that can wait until the brokers have confirmed every change.

    Plain Faust does not wait for changes to be sent, so offsets can be committed before their changes are stored.

    Attributes:
        held: the table's content. Faust's own store reads it and never changes it.
        kind_of: returns the kind of an entry from its key and value; ``held`` groups the entries by kind. Also called in the
            consumer's thread.
        outdated: keys whose last changelog record may hold an older state than ours. Compaction would keep the older one.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._unconfirmed: dict[bytes, FutureMessage] = {}
        self.held = PartitionedValues()
        self.kind_of: Callable[[bytes, bytes], str] = lambda key, value: ""
        self.outdated: set[bytes] = set()
        cast(Any, self.data).data = self.held

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self.send_changelog(self.partition_for_key(key), key, value)

    def __delitem__(self, key: bytes) -> None:
        self.send_changelog(self.partition_for_key(key), key, None)

    def send_changelog(self, partition: int | None, key: Any, value: Any, *args: Any, **options: Any) -> FutureMessage:
        """Change the table, and send the change to its changelog. Returns before it is sent."""
        # Order within a partition is kept, so a key's last change confirms the earlier ones.
        self._unconfirmed[key] = future = super().send_changelog(partition, key, value, *args, **options)
        self._hold(cast(int, future.message.partition), key, value)
        return future

    def _hold(self, partition: int, key: bytes, value: bytes | None) -> None:
        if value is None:
            self.held.remove(partition, key)
        else:
            self.held.put(partition, self.kind_of(key, value), key, value)

    def absorb(self, changes: Changes) -> None:
        """Apply changes that were read from the changelog. New keys are added in bulk."""
        self.outdated -= changes.removed
        for key in self.held.held_of(changes.partition, changes.removed):
            self.held.remove(changes.partition, key)
        for kind, values in changes.values.items():
            for key in self.held.held_of(changes.partition, values):
                self._take_over(changes.partition, key, values.pop(key))
            self.held.put_new(changes.partition, kind, values)
        self.outdated |= changes.outdated

    def _take_over(self, partition: int, key: bytes, value: bytes) -> None:
        """Replace a value, but never replace a run's state by an older one."""
        if replaces(key, value, self.held[key]):
            self._hold(partition, key, value)
            self.outdated.discard(key)
        else:
            self.outdated.add(key)

    def apply_changelog_batch(self, batch: Iterable[EventT[bytes]]) -> None:
        """Do nothing: the table has absorbed these changes already. The consumer passes on only the last record of each poll."""

    def rewrite_outdated(self, partition_of: Callable[[bytes], int]) -> None:
        """Send the current values of outdated keys to the changelog again."""
        for key in self.outdated:
            if (value := self.held.get(key)) is not None:
                self.send_changelog(partition_of(key), key, value, value_serializer="raw")
        self.outdated.clear()

    async def forget_all_but(self, partitions: set[int]) -> None:
        """Drop the keys of lost partitions without writing to their changelog, and yield to the event loop after each step.

        Deleting them through the table would send tombstones, which delete the new owner's values. Failed changes of these keys
        are not resent, because a dropped key would be sent as a tombstone.
        """
        for key in [key for key, future in self._unconfirmed.items() if future.message.partition not in partitions]:
            del self._unconfirmed[key]
        for _ in self.held.drop_all_but(partitions):
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
