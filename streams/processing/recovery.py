"""Faust's recovery of tables and positions after a rebalance, changed so that unreachable brokers delay it but do not end it."""

from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from mode.services import WaitArgT
from mode.utils.times import Seconds


class UnboundedRecovery(Recovery):
    """Waits for the brokers without a limit. The awaited requests are retried by the consumer."""

    async def _wait(self, coro: WaitArgT, timeout: Seconds | None = None) -> None:  # noqa: ASYNC109 - Faust's
        """Wait without a timeout. Faust 0.15.3 ends the recovery on a timeout, and the worker then stays in its group doing nothing."""
        await super()._wait(coro)


class UnboundedTableManager(TableManager):
    """Faust's table manager with the unbounded recovery."""

    @property
    def recovery(self) -> Recovery:
        if self._recovery is None:
            self._recovery = UnboundedRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery
