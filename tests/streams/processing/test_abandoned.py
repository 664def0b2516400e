"""A record in progress when an earlier one of its partition is released is awaited, and never acknowledged."""

import asyncio
from types import SimpleNamespace

from faust.types import TP

from streams.processing.ordered_processor import OrderedProcessor, _Item, _State
from streams.runtime.assignment import AssignmentRevoked


async def test_abandoned_records_are_awaited_and_not_acknowledged():
    """Faust waits for unacknowledged records: a GPU call in progress must be among them until its result is sent."""
    acked, computed = list[object](), asyncio.Event()

    async def ack(event) -> None:
        acked.append(event)

    async def release() -> None:
        raise AssignmentRevoked

    tp = TP("t", 0)
    messages = [SimpleNamespace(tp=tp, topic="t", partition=0, offset=offset) for offset in range(3)]
    unacked = Unacked(messages)
    processor = OrderedProcessor(
        SimpleNamespace(consumer=SimpleNamespace(unacked=unacked)), "abandoned", lambda record, assignment: release(), 10, SimpleNamespace()
    )
    items = [_Item(SimpleNamespace(message=message), 0.0) for message in messages]
    processor._partitions[tp].extend(items)
    stream, outcomes = SimpleNamespace(ack=ack), (release(), computed.wait(), release())
    tasks = [asyncio.create_task(processor._work(stream, *item)) for item in zip(items, outcomes, strict=True)]
    await asyncio.gather(tasks[0], tasks[2])
    assert unacked.unacknowledged() == [1]
    assert processor.in_flight == 0
    computed.set()
    await tasks[1]
    assert (unacked.unacknowledged(), acked) == ([], [])
    assert items[1].state is _State.DONE


class Unacked:
    """Faust's set of messages in flight, by identity: these have no hash."""

    def __init__(self, messages: list[SimpleNamespace]) -> None:
        self._messages = messages

    def discard(self, message: SimpleNamespace) -> None:
        self._messages = [pending for pending in self._messages if pending is not message]

    def unacknowledged(self) -> list[int]:
        return [message.offset for message in self._messages]
