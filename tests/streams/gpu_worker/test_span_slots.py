"""Who gets a place, the device and memory, and in which order."""

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
    """Let everything run that can."""
    for _ in range(50):
        await asyncio.sleep(0)


class Holder:
    """A span that asks for a place, holds it until told, and notes when it came in."""

    def __init__(
        self,
        room: SpanSlots,
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
        self.task = asyncio.create_task(self._run(room, assignment))

    async def _run(self, room: SpanSlots, assignment: Assignment) -> None:
        async with room.slot(self.priority, assignment, alone=self.alone) as place:
            self.inside = True
            self._order.append(self)
            place.count_fetched(self.fetched_bytes)
            if self.size_bytes:
                await place.take_frames(self.size_bytes, assignment)
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
    """Makes holders, and ends those that are left."""
    holders: list[Holder] = []
    order: list[Holder] = []

    def make(room: SpanSlots, priority: Priority = HIGH, size_bytes: int = 0, fetched_bytes: int = 0, *, alone: bool = False) -> Holder:
        holder = Holder(room, assignment, priority, order, size_bytes, fetched_bytes, alone)
        holders.append(holder)
        return holder

    make.order = order
    yield make
    for holder in holders:
        holder.task.cancel()
    await asyncio.gather(*(holder.task for holder in holders), return_exceptions=True)


async def test_no_more_spans_are_held_than_there_are_places(enter):
    """A fourth span waits until one of three has left."""
    room = SpanSlots(3, 1000)
    first, second, third, fourth = (enter(room) for _ in range(4))
    await settle()
    assert [holder.inside for holder in (first, second, third, fourth)] == [True, True, True, False]
    await second.leave()
    await settle()
    assert fourth.inside


async def test_low_priority_leaves_one_place_free(enter):
    """Of three places low spans take two, so that a high one can be fetched at once."""
    room = SpanSlots(3, 1000)
    low = [enter(room, LOW) for _ in range(3)]
    await settle()
    assert [holder.inside for holder in low] == [True, True, False]
    high = enter(room, HIGH)
    await settle()
    assert high.inside
    await low[0].leave()
    await settle()
    assert not low[2].inside  # a high one is held now as well
    await high.leave()
    await settle()
    assert low[2].inside


async def test_with_one_place_low_priority_can_work_at_all(enter):
    """A worker of one place gives it to low priority when nobody else wants it."""
    room = SpanSlots(1, 1000)
    low = enter(room, LOW)
    await settle()
    assert low.inside


async def test_low_priority_waits_while_high_waits(enter):
    """A place that becomes free goes to the high span that waits, though a low one has waited longer."""
    room = SpanSlots(2, 1000)
    held = [enter(room, HIGH), enter(room, HIGH)]
    low = enter(room, LOW)
    await settle()
    high = enter(room, HIGH)
    await settle()
    await held[0].leave()
    await settle()
    assert (high.inside, low.inside) == (True, False)
    await held[1].leave()
    await high.leave()
    await settle()
    assert low.inside


async def test_equals_go_in_the_order_they_came(enter):
    """Among spans of one priority the one that has waited longest is next."""
    room = SpanSlots(1, 1000)
    holders = [enter(room) for _ in range(5)]
    for holder in holders:
        await settle()
        assert holder.inside
        await holder.leave()
    assert enter.order == holders


async def test_a_span_that_must_be_alone_is_held_with_no_other(enter):
    """It waits until all have left, keeps those out that come after it, and lets nobody in beside it."""
    room = SpanSlots(3, 1000)
    held = [enter(room), enter(room, LOW)]
    await settle()
    suspect = enter(room, alone=True)
    await settle()
    later = enter(room)
    await held[0].leave()
    await settle()
    assert (suspect.inside, later.inside) == (False, False)
    await held[1].leave()
    await settle()
    assert (suspect.inside, later.inside) == (True, False)
    await suspect.leave()
    await settle()
    assert later.inside


async def test_a_low_span_that_must_be_alone_holds_up_no_high_one(enter):
    """High priority goes first as ever; another low one does not overtake it."""
    room = SpanSlots(3, 1000)
    held = enter(room, LOW)
    await settle()
    suspect = enter(room, LOW, alone=True)
    await settle()
    high, low = enter(room, HIGH), enter(room, LOW)
    await settle()
    assert (suspect.inside, high.inside, low.inside) == (False, True, False)
    await held.leave()
    await high.leave()
    await settle()
    assert (suspect.inside, low.inside) == (True, False)


async def test_bytes_are_bounded_and_given_back(enter):
    """A span whose frames do not fit waits until another has left."""
    room = SpanSlots(3, 100)
    first, second = enter(room, size_bytes=60), enter(room, size_bytes=60)
    await settle()
    assert (first.has_bytes, second.has_bytes) == (True, False)
    await first.leave()
    await settle()
    assert second.has_bytes


async def test_a_span_larger_than_all_room_is_let_in_alone(enter):
    """It would never be predicted otherwise; no other span's frames are held beside it."""
    room = SpanSlots(3, 100)
    large = enter(room, size_bytes=500)
    await settle()
    small = enter(room, size_bytes=1)
    await settle()
    assert (large.has_bytes, small.has_bytes) == (True, False)
    await large.leave()
    await settle()
    assert small.has_bytes


async def test_small_spans_do_not_keep_a_large_one_out(enter):
    """Bytes are given in the order of asking, so that a large span gets its turn however many small ones come."""
    room = SpanSlots(3, 100)
    held = enter(room, size_bytes=40)
    await settle()
    large = enter(room, size_bytes=90)
    await settle()
    later = enter(room, size_bytes=40)
    await settle()
    assert (large.has_bytes, later.has_bytes) == (False, False)
    await held.leave()
    await settle()
    assert large.has_bytes
    await large.leave()
    await settle()
    assert later.has_bytes


async def test_high_priority_goes_first_for_bytes_too(enter):
    """A low span that waits for room with its frames does not hold up a high one."""
    room = SpanSlots(4, 100)
    held = enter(room, size_bytes=60)
    await settle()
    low, high = enter(room, LOW, size_bytes=90), enter(room, HIGH, size_bytes=40)
    await settle()
    assert (low.has_bytes, high.has_bytes) == (False, True)
    await held.leave()
    await high.leave()
    await settle()
    assert low.has_bytes


async def test_what_was_fetched_counts_too(enter):
    """Frames wait for room that others' chunks take; and where all room is taken, nobody begins to fetch."""
    room = SpanSlots(3, 100)
    first, second = enter(room, size_bytes=50, fetched_bytes=10), enter(room, size_bytes=30, fetched_bytes=20)
    await settle()
    assert (first.has_bytes, second.has_bytes) == (True, False)
    third = enter(room, fetched_bytes=20)
    await settle()
    assert third.inside
    await third.leave()
    await first.leave()
    full = enter(room, fetched_bytes=50)
    await settle()
    assert (second.has_bytes, full.inside) == (True, True)
    late = enter(room)
    await settle()
    assert not late.inside
    await full.leave()
    await settle()
    assert late.inside


async def test_spans_whose_chunks_take_all_room_do_not_wait_for_each_other(enter):
    """One of them is let in, however large it is: all would wait for ever otherwise."""
    room = SpanSlots(3, 100)
    spans = [enter(room, size_bytes=10, fetched_bytes=90) for _ in range(3)]
    await settle()
    assert [span.has_bytes for span in spans] == [True, False, False]
    for n in range(2):
        await spans[n].leave()
        await settle()
        assert spans[n + 1].has_bytes


async def test_a_span_that_gives_up_waiting_for_bytes_lets_the_next_ask(enter):
    """A waiting span that is cancelled does not block those behind it."""
    room = SpanSlots(3, 100)
    enter(room, size_bytes=50)
    await settle()
    large, small = enter(room, size_bytes=90), enter(room, size_bytes=40)
    await settle()
    large.task.cancel()
    await settle()
    assert small.has_bytes


async def use_device(
    room: SpanSlots, assignment: Assignment, priority: Priority, turns: list[Priority], until: asyncio.Event | None = None
) -> None:
    async with room.device(priority, assignment):
        turns.append(priority)
        if until is not None:
            await until.wait()


async def test_the_device_serves_one_at_a_time_high_first(assignment):
    """While one computes all wait, and of those that wait the high ones are next, in the order they came."""
    room, turns, over = SpanSlots(3, 1000), [], asyncio.Event()
    first = asyncio.create_task(use_device(room, assignment, LOW, turns, over))
    await settle()
    others = [asyncio.create_task(use_device(room, assignment, priority, turns)) for priority in (LOW, HIGH, LOW, HIGH)]
    await settle()
    assert turns == [LOW]
    over.set()
    await asyncio.gather(first, *others)
    assert turns == [LOW, HIGH, HIGH, LOW, LOW]


async def test_an_error_in_a_span_frees_what_it_held(assignment):
    """Slot, bytes and device are given back however a span ends."""
    room = SpanSlots(1, 100)

    async def fails() -> None:
        async with room.slot(HIGH, assignment) as place:
            await place.take_frames(100, assignment)
            async with room.device(HIGH, assignment):
                raise RuntimeError("broken")

    for _ in range(3):
        with pytest.raises(RuntimeError, match="broken"):
            await asyncio.wait_for(fails(), 5)


async def test_every_wait_ends_with_the_tenure(assignment):
    """A rebalance lets all go that wait: for a place, for bytes, for the device; and those who come later do not begin."""
    room, ended = SpanSlots(2, 100), []

    async def waits(coroutine) -> None:
        with pytest.raises(AssignmentRevoked):
            await coroutine
        ended.append(True)

    async def take(priority: Priority) -> None:
        async with room.slot(priority, assignment):
            raise AssertionError("there was no place")

    async with AsyncExitStack() as held:
        place = await held.enter_async_context(room.slot(HIGH, assignment))
        other = await held.enter_async_context(room.slot(HIGH, assignment))
        await place.take_frames(100, assignment)
        await held.enter_async_context(room.device(HIGH, assignment))
        waiting = [take(HIGH), take(LOW), other.take_frames(1, assignment), use_device(room, assignment, HIGH, [])]
        tasks = [asyncio.create_task(waits(coroutine)) for coroutine in waiting]
        await settle()
        assert not ended
        assignment.revoke(asyncio.get_running_loop())
        await asyncio.gather(*tasks)
        await waits(take(HIGH))
    later = Assignment(2)
    async with room.slot(LOW, later) as place, room.device(LOW, later):
        await place.take_frames(100, later)


@given(
    st.integers(1, 4),
    st.lists(
        st.tuples(st.sampled_from([HIGH, LOW]), st.integers(0, 60), st.integers(1, 150), st.integers(0, 3), st.booleans()),
        min_size=1,
        max_size=15,
    ),
)
@settings(deadline=None)
def test_all_get_through_within_the_limits(places, wishes):
    """Whatever comes, limits hold at every moment, no two hold the device, who must be alone is, and everybody has a turn."""

    async def scenario() -> None:
        room, assignment = SpanSlots(places, 100), Assignment(1)
        inside: list[bool] = []
        fetched: dict[int, int] = {}
        frames: dict[int, int] = {}
        computing = 0
        served = 0

        async def span(n: int, priority: Priority, fetched_bytes: int, size_bytes: int, rests: int, alone: bool) -> None:
            nonlocal computing, served
            for _ in range(rests):
                await asyncio.sleep(0)
            async with room.slot(priority, assignment, alone=alone) as place:
                inside.append(alone)
                assert len(inside) <= (1 if any(inside) else places)
                for _ in range(rests):
                    await asyncio.sleep(0)
                place.count_fetched(fetched_bytes)
                fetched[n] = fetched_bytes
                counted = set(fetched)  # what others fetch while this one waits is counted without asking
                await place.take_frames(size_bytes, assignment)
                frames[n] = size_bytes
                held = sum(fetched[other] for other in counted & fetched.keys()) + sum(frames.values())
                assert held <= 100 or len(frames) == 1
                async with room.device(priority, assignment):
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
