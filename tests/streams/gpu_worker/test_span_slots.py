"""Slots, the device and memory are given to spans in a defined order."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.types import Priority
from streams.gpu_worker.span_slots import SpanSlots
from streams.runtime.assignment import Assignment, AssignmentRevoked

HIGH, LOW = Priority.HIGH, Priority.LOW


async def settle() -> None:
    """Let everything run that can run."""
    for _ in range(50):
        await asyncio.sleep(0)


class Holder:
    """A span that requests a slot, records when it got it, and holds it until the test ends it."""

    def __init__(
        self,
        slots: SpanSlots,
        assignment: Assignment,
        priority: Priority,
        order: list["Holder"],
        size_bytes: int,
        fetched_bytes: int,
        alone: bool,
    ) -> None:
        self.priority, self.size_bytes, self.fetched_bytes, self.alone = priority, size_bytes, fetched_bytes, alone
        self.inside = self.has_bytes = self.has_device = False
        self._leave = asyncio.Event()
        self._order = order
        self.task = asyncio.create_task(self._run(slots, assignment))

    async def _run(self, slots: SpanSlots, assignment: Assignment) -> None:
        async with slots.slot(self.priority, assignment, alone=self.alone) as slot:
            self.inside = True
            self._order.append(self)
            slot.count_fetched(self.fetched_bytes)
            if self.size_bytes:
                await slot.reserve_frames(self.size_bytes, assignment)
                self.has_bytes = True
            await self._leave.wait()
        self.inside = self.has_bytes = False

    async def leave(self) -> None:
        self._leave.set()
        await self.task


@pytest.fixture
def assignment():
    return Assignment(1)


@pytest.fixture
async def enter(assignment):
    """Makes holders, and ends the remaining ones."""
    holders: list[Holder] = []
    order: list[Holder] = []

    def make(slots: SpanSlots, priority: Priority = HIGH, size_bytes: int = 0, fetched_bytes: int = 0, *, alone: bool = False) -> Holder:
        holder = Holder(slots, assignment, priority, order, size_bytes, fetched_bytes, alone)
        holders.append(holder)
        return holder

    make.order = order
    yield make
    for holder in holders:
        holder.task.cancel()
    await asyncio.gather(*(holder.task for holder in holders), return_exceptions=True)


async def test_no_more_spans_are_held_than_there_are_slots(enter):
    """A fourth span waits until one of three has released its slot."""
    slots = SpanSlots(3, 1000)
    first, second, third, fourth = (enter(slots) for _ in range(4))
    await settle()
    assert [holder.inside for holder in (first, second, third, fourth)] == [True, True, True, False]
    await second.leave()
    await settle()
    assert fourth.inside


async def test_low_priority_leaves_one_slot_free(enter):
    """Low-priority spans take two of three slots, so that a high-priority one can be fetched at once."""
    slots = SpanSlots(3, 1000)
    low = [enter(slots, LOW) for _ in range(3)]
    await settle()
    assert [holder.inside for holder in low] == [True, True, False]
    high = enter(slots, HIGH)
    await settle()
    assert high.inside
    await low[0].leave()
    await settle()
    assert not low[2].inside  # a high one is held now as well
    await high.leave()
    await settle()
    assert low[2].inside


async def test_low_priority_can_use_the_only_slot(enter):
    """A worker with one slot gives it to low priority if no other span waits."""
    slots = SpanSlots(1, 1000)
    low = enter(slots, LOW)
    await settle()
    assert low.inside


async def test_low_priority_waits_while_high_waits(enter):
    """A free slot goes to a waiting high-priority span, even if a low-priority one has waited longer."""
    slots = SpanSlots(2, 1000)
    holders = [enter(slots, HIGH), enter(slots, HIGH)]
    low = enter(slots, LOW)
    await settle()
    high = enter(slots, HIGH)
    await settle()
    await holders[0].leave()
    await settle()
    assert (high.inside, low.inside) == (True, False)
    await holders[1].leave()
    await high.leave()
    await settle()
    assert low.inside


async def test_equal_priorities_are_served_in_order(enter):
    """Among spans of the same priority, the one that has waited longest is next."""
    slots = SpanSlots(1, 1000)
    holders = [enter(slots) for _ in range(5)]
    for holder in holders:
        await settle()
        assert holder.inside
        await holder.leave()
    assert enter.order == holders


async def test_a_quarantined_span_is_held_alone(enter):
    """A span that must run alone waits until all slots are free, and no other span gets one until it is done."""
    slots = SpanSlots(3, 1000)
    holders = [enter(slots), enter(slots, LOW)]
    await settle()
    quarantined = enter(slots, alone=True)
    await settle()
    later = enter(slots)
    await holders[0].leave()
    await settle()
    assert (quarantined.inside, later.inside) == (False, False)
    await holders[1].leave()
    await settle()
    assert (quarantined.inside, later.inside) == (True, False)
    await quarantined.leave()
    await settle()
    assert later.inside


async def test_a_quarantined_low_span_does_not_delay_high_priority(enter):
    """High priority still goes first; another low-priority span does not overtake it."""
    slots = SpanSlots(3, 1000)
    holders = enter(slots, LOW)
    await settle()
    quarantined = enter(slots, LOW, alone=True)
    await settle()
    high, low = enter(slots, HIGH), enter(slots, LOW)
    await settle()
    assert (quarantined.inside, high.inside, low.inside) == (False, True, False)
    await holders.leave()
    await high.leave()
    await settle()
    assert (quarantined.inside, low.inside) == (True, False)


async def test_bytes_are_bounded_and_released(enter):
    """A span whose frames do not fit waits until another span is done."""
    slots = SpanSlots(3, 100)
    first, second = enter(slots, size_bytes=60), enter(slots, size_bytes=60)
    await settle()
    assert (first.has_bytes, second.has_bytes) == (True, False)
    await first.leave()
    await settle()
    assert second.has_bytes


async def test_a_span_above_the_byte_limit_is_admitted_alone(enter):
    """A span larger than the limit is admitted when no other frames are held, or it would never be predicted."""
    slots = SpanSlots(3, 100)
    large = enter(slots, size_bytes=500)
    await settle()
    small = enter(slots, size_bytes=1)
    await settle()
    assert (large.has_bytes, small.has_bytes) == (True, False)
    await large.leave()
    await settle()
    assert small.has_bytes


async def test_small_spans_do_not_starve_a_large_one(enter):
    """Bytes are granted in the order of the requests, so that a large span gets its turn however many small ones come."""
    slots = SpanSlots(3, 100)
    holders = enter(slots, size_bytes=40)
    await settle()
    large = enter(slots, size_bytes=90)
    await settle()
    later = enter(slots, size_bytes=40)
    await settle()
    assert (large.has_bytes, later.has_bytes) == (False, False)
    await holders.leave()
    await settle()
    assert large.has_bytes
    await large.leave()
    await settle()
    assert later.has_bytes


async def test_high_priority_gets_bytes_first(enter):
    """A low-priority span that waits for memory does not block a high-priority one."""
    slots = SpanSlots(4, 100)
    holders = enter(slots, size_bytes=60)
    await settle()
    low, high = enter(slots, LOW, size_bytes=90), enter(slots, HIGH, size_bytes=40)
    await settle()
    assert (low.has_bytes, high.has_bytes) == (False, True)
    await holders.leave()
    await high.leave()
    await settle()
    assert low.has_bytes


async def test_fetched_chunks_count_as_well(enter):
    """Frames wait for memory that other spans' chunks take, and no fetch begins while all memory is taken."""
    slots = SpanSlots(3, 100)
    first, second = enter(slots, size_bytes=50, fetched_bytes=10), enter(slots, size_bytes=30, fetched_bytes=20)
    await settle()
    assert (first.has_bytes, second.has_bytes) == (True, False)
    third = enter(slots, fetched_bytes=20)
    await settle()
    assert third.inside
    await third.leave()
    await first.leave()
    full = enter(slots, fetched_bytes=50)
    await settle()
    assert (second.has_bytes, full.inside) == (True, True)
    late = enter(slots)
    await settle()
    assert not late.inside
    await full.leave()
    await settle()
    assert late.inside


async def test_spans_whose_chunks_fill_the_limit_do_not_deadlock(enter):
    """Of spans whose chunks fill the limit one is admitted however large it is, because otherwise all would wait forever."""
    slots = SpanSlots(3, 100)
    spans = [enter(slots, size_bytes=10, fetched_bytes=90) for _ in range(3)]
    await settle()
    assert [span.has_bytes for span in spans] == [True, False, False]
    for n in range(2):
        await spans[n].leave()
        await settle()
        assert spans[n + 1].has_bytes


async def test_a_span_that_stops_waiting_for_bytes_unblocks_the_next(enter):
    """A waiting span that is cancelled does not block those behind it."""
    slots = SpanSlots(3, 100)
    enter(slots, size_bytes=50)
    await settle()
    large, small = enter(slots, size_bytes=90), enter(slots, size_bytes=40)
    await settle()
    large.task.cancel()
    await settle()
    assert small.has_bytes


async def use_device(
    slots: SpanSlots, assignment: Assignment, priority: Priority, turns: list[Priority], until: asyncio.Event | None = None
) -> None:
    async with slots.device(priority, assignment):
        turns.append(priority)
        if until is not None:
            await until.wait()


async def test_the_device_serves_one_at_a_time_high_first(assignment):
    """While one span computes, all others wait; high-priority ones are next, in the order of their arrival."""
    slots, turns, over = SpanSlots(3, 1000), [], asyncio.Event()
    first = asyncio.create_task(use_device(slots, assignment, LOW, turns, over))
    await settle()
    others = [asyncio.create_task(use_device(slots, assignment, priority, turns)) for priority in (LOW, HIGH, LOW, HIGH)]
    await settle()
    assert turns == [LOW]
    over.set()
    await asyncio.gather(first, *others)
    assert turns == [LOW, HIGH, HIGH, LOW, LOW]


async def test_an_error_in_a_span_releases_its_slot(assignment):
    """Slot, bytes and device are released however a span ends."""
    slots = SpanSlots(1, 100)

    async def fails() -> None:
        async with slots.slot(HIGH, assignment) as slot:
            await slot.reserve_frames(100, assignment)
            async with slots.device(HIGH, assignment):
                raise RuntimeError("broken")

    for _ in range(3):
        with pytest.raises(RuntimeError, match="broken"):
            await asyncio.wait_for(fails(), 5)


async def test_every_wait_ends_with_the_assignment(assignment):
    """A rebalance ends all waits, for slots, bytes and the device, and later spans do not begin."""
    slots, ended = SpanSlots(2, 100), []

    async def waits(coroutine) -> None:
        with pytest.raises(AssignmentRevoked):
            await coroutine
        ended.append(True)

    async def take(priority: Priority) -> None:
        async with slots.slot(priority, assignment):
            raise AssertionError("there was no place")

    async with AsyncExitStack() as holders:
        slot = await holders.enter_async_context(slots.slot(HIGH, assignment))
        other = await holders.enter_async_context(slots.slot(HIGH, assignment))
        await slot.reserve_frames(100, assignment)
        await holders.enter_async_context(slots.device(HIGH, assignment))
        waiting = [take(HIGH), take(LOW), other.reserve_frames(1, assignment), use_device(slots, assignment, HIGH, [])]
        tasks = [asyncio.create_task(waits(coroutine)) for coroutine in waiting]
        await settle()
        assert not ended
        assignment.revoke(asyncio.get_running_loop())
        await asyncio.gather(*tasks)
        await waits(take(HIGH))
    later = Assignment(2)
    async with slots.slot(LOW, later) as slot, slots.device(LOW, later):
        await slot.reserve_frames(100, later)


@given(
    st.integers(1, 4),
    st.lists(
        st.tuples(st.sampled_from([HIGH, LOW]), st.integers(0, 60), st.integers(1, 150), st.integers(0, 3), st.booleans()),
        min_size=1,
        max_size=15,
    ),
)
@settings(deadline=None)
def test_all_spans_finish_within_the_limits(slot_count, wishes):
    """In every sequence limits hold, only one span has the device, spans that must run alone do, and every span gets its turn."""

    async def scenario() -> None:
        slots, assignment = SpanSlots(slot_count, 100), Assignment(1)
        inside: list[bool] = []
        fetched: dict[int, int] = {}
        frames: dict[int, int] = {}
        computing = 0
        served = 0

        async def span(n: int, priority: Priority, fetched_bytes: int, size_bytes: int, rests: int, alone: bool) -> None:
            nonlocal computing, served
            for _ in range(rests):
                await asyncio.sleep(0)
            async with slots.slot(priority, assignment, alone=alone) as slot:
                inside.append(alone)
                assert len(inside) <= (1 if any(inside) else slot_count)
                for _ in range(rests):
                    await asyncio.sleep(0)
                slot.count_fetched(fetched_bytes)
                fetched[n] = fetched_bytes
                counted = set(fetched)  # what others fetch while this one waits is counted without waiting
                await slot.reserve_frames(size_bytes, assignment)
                frames[n] = size_bytes
                holders = sum(fetched[other] for other in counted & fetched.keys()) + sum(frames.values())
                assert holders <= 100 or len(frames) == 1
                async with slots.device(priority, assignment):
                    computing += 1
                    assert computing == 1
                    await asyncio.sleep(0)
                    computing -= 1
                inside.remove(alone)
                del fetched[n], frames[n]
            served += 1

        await asyncio.wait_for(asyncio.gather(*(span(n, *wish) for n, wish in enumerate(wishes))), 10)
        assert served == len(wishes)

    asyncio.run(scenario())
