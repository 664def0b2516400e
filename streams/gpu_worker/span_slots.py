"""Limits the spans that a worker holds, by number and bytes. Low priority waits while high priority waits."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from core.metrics import SPAN_BYTES_HELD, SPANS_HELD
from core.types import Priority
from streams.runtime.assignment import Assignment


class SpanSlots:
    """Slots for spans, and exclusive use of the device. Every wait ends when the assignment is revoked.

    Low priority leaves one of several slots free, so that a high-priority span can be fetched while low-priority ones are held.
    """

    def __init__(self, spans: int, size_bytes: int) -> None:
        self._limit = {Priority.HIGH: spans, Priority.LOW: max(1, spans - 1)}
        self._limit_bytes = size_bytes
        self._held = {Priority.HIGH: 0, Priority.LOW: 0}
        self._held_bytes = 0
        self._with_frames = 0
        self._waiting_for_frames: list[Slot] = []
        self._waiting_high = 0
        self._waiting_alone = {Priority.HIGH: 0, Priority.LOW: 0}
        self._alone = False
        self._device_busy = False
        self._device_waiting_high = 0
        self._changed = asyncio.Condition()
        for priority in Priority:
            SPANS_HELD.labels(priority).set_function(partial(self._held.__getitem__, priority))
        SPAN_BYTES_HELD.set_function(lambda: self._held_bytes)

    @property
    def held(self) -> int:
        """Spans held now."""
        return sum(self._held.values())

    @asynccontextmanager
    async def slot(self, priority: Priority, assignment: Assignment, *, alone: bool = False) -> AsyncIterator["Slot"]:
        """Wait for a slot and hold it.

        Args:
            alone: hold no other span at the same time.

        Raises:
            AssignmentRevoked: the assignment ended before a slot was free.
        """
        high = priority is Priority.HIGH

        def claim() -> None:
            self._held[priority] += 1
            self._alone = alone

        self._waiting_high += high
        self._waiting_alone[priority] += alone
        try:
            await self._when(assignment, lambda: self._free(priority, alone), claim)
        finally:
            self._waiting_high -= high
            self._waiting_alone[priority] -= alone
        slot = Slot(self, priority)
        try:
            await self._notify()
            yield slot
        finally:
            self._held[priority] -= 1
            self._held_bytes -= slot.fetched_bytes + slot.frame_bytes
            self._with_frames -= slot.frame_bytes > 0
            self._alone = False  # if it was set, this was the only slot held
            await self._notify()

    @asynccontextmanager
    async def device(self, priority: Priority, assignment: Assignment) -> AsyncIterator[None]:
        """Wait for the device and hold it. High priority goes first.

        Raises:
            AssignmentRevoked: the assignment ended before the device was free.
        """
        high = priority is Priority.HIGH

        def claim() -> None:
            self._device_busy = True

        self._device_waiting_high += high
        try:
            await self._when(assignment, lambda: not self._device_busy and (high or not self._device_waiting_high), claim)
        finally:
            self._device_waiting_high -= high
        try:
            yield
        finally:
            self._device_busy = False
            await self._notify()

    def count_fetched(self, slot: "Slot", size_bytes: int) -> None:
        """Count fetched bytes without waiting. Waiting here could deadlock, with spans waiting for each other."""
        slot.fetched_bytes += size_bytes
        self._held_bytes += size_bytes

    async def reserve_frames(self, slot: "Slot", size_bytes: int, assignment: Assignment) -> None:
        """Wait until the frames fit: high priority first, then in order of arrival. If no other span has frames, any size fits."""

        def may_enter() -> bool:
            fits = self._with_frames == 0 or self._held_bytes + size_bytes <= self._limit_bytes
            return fits and self._waiting_for_frames[0] is slot  # in order, or small spans would starve a large one

        def claim() -> None:
            slot.frame_bytes = size_bytes
            self._held_bytes += size_bytes
            self._with_frames += 1

        later = (
            [waiting for waiting in self._waiting_for_frames if waiting.priority is Priority.LOW] if slot.priority is Priority.HIGH else []
        )
        self._waiting_for_frames.insert(len(self._waiting_for_frames) - len(later), slot)
        try:
            await self._when(assignment, may_enter, claim)
        finally:
            self._waiting_for_frames.remove(slot)
            await self._notify()

    def _free(self, priority: Priority, alone: bool) -> bool:
        held, high = self._held[Priority.HIGH] + self._held[Priority.LOW], priority is Priority.HIGH
        if self._alone or (self._waiting_high and not high) or self._held_bytes >= self._limit_bytes:
            return False
        if alone:
            return not held
        # Without this, a span that must run alone could wait forever.
        reserved = self._waiting_alone[Priority.HIGH] or (not high and self._waiting_alone[Priority.LOW])
        return not reserved and held < self._limit[priority]

    async def _when(self, assignment: Assignment, condition: Callable[[], bool], claim: Callable[[], None]) -> None:
        """Wait for a condition and atomically claim what it guards."""

        async def claimed() -> None:
            async with self._changed:
                await self._changed.wait_for(condition)
                claim()

        assignment.check()
        await assignment.until_revoked(claimed())

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()


class Slot:
    """One span's slot in a worker, and the bytes that it holds."""

    def __init__(self, slots: SpanSlots, priority: Priority) -> None:
        self._slots = slots
        self.priority = priority
        self.fetched_bytes = 0
        self.frame_bytes = 0

    def count_fetched(self, size_bytes: int) -> None:
        self._slots.count_fetched(self, size_bytes)

    async def reserve_frames(self, size_bytes: int, assignment: Assignment) -> None:
        await self._slots.reserve_frames(self, size_bytes, assignment)
