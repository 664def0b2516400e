"""Faust's recovery of tables and positions after a rebalance, so mended that brokers that are away delay it and do not end it."""

from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from mode.services import WaitArgT
from mode.utils.times import Seconds


class UnboundedRecovery(Recovery):
    """Waits for the brokers as long as it takes: what it waits for asks them again by itself."""

    async def _wait(self, coro: WaitArgT, timeout: Seconds | None = None) -> None:  # noqa: ASYNC109 - Faust's
        """Faust 0.15.3 takes a limit that has passed for its own end: the worker would stay in its group, and do nothing for good."""
        await super()._wait(coro)


class UnboundedTableManager(TableManager):
    """Faust's own table manager, with this recovery."""

    @property
    def recovery(self) -> Recovery:
        if self._recovery is None:
            self._recovery = UnboundedRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery
