"""The consumer of a Faust app, so mended that no record is lost, and no process ended, when partitions are taken over."""

from collections.abc import Mapping

from aiokafka import TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP


class HeldConsumer(driver.Consumer):
    """Delivers nothing between a seek to the committed offsets and the resumption that follows it.

    Faust 0.15.3 resumes the partitions, seeks one after the other, and then empties all queues as it resumes the flow.
    What was fetched in the meantime is thrown away, and would be read again only after the next rebalance.
    """

    async def perform_seek(self) -> None:
        self.stop_flow()  # whoever seeks resumes it afterwards
        await super().perform_seek()

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """As Faust's; a partition without a committed offset is sought to its beginning, where aiokafka leaves it as it stands."""
        committed: Mapping[TP, int] = await super().seek_to_committed()
        changelogs = self.app.tables.changelog_topics
        fresh = [TopicPartition(tp.topic, tp.partition) for tp, offset in committed.items() if not offset and tp.topic not in changelogs]
        if fresh:
            await self._thread.seek_to_beginning(*fresh)
        return committed

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Nothing: Faust looks for stalled partitions only to log them, and crashes where the brokers have yet to tell a position."""


class HeldTransport(driver.Transport):
    """Faust's own transport, with this consumer."""

    Consumer = HeldConsumer
