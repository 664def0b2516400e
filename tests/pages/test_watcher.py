"""What the home page's watcher shows of the database and the brokers, tested with fakes."""

import asyncio
from datetime import UTC, datetime

from core.errors import TransientError
from pages.live.brokers import Letter
from pages.live.snapshot import SHOWN, Watcher

NOW = datetime.now(UTC)


class Database:
    """Counts the calls."""

    def __init__(self) -> None:
        self.calls = {"tables": 0, "replays": 0, "charts": 0}
        self.completed = 0

    async def live_page(self, since: datetime, today: datetime, shown: int) -> dict:
        self.calls["tables"] += 1
        return {"overview": {"completed": self.completed}, "in_progress": [], "recent": [], "rejections": []}

    async def live_replays(self, since: datetime) -> list:
        self.calls["replays"] += 1
        return []

    async def activity(self, first: datetime, last: datetime, steps: int) -> list:
        self.calls["charts"] += 1
        return [{"at": NOW.isoformat()}]


class UnreachableDatabase(Database):
    async def live_page(self, since: datetime, today: datetime, shown: int) -> dict:
        raise TransientError("no route to host")


class Brokers:
    def __init__(self, letters: int = 0) -> None:
        self._letters = [Letter(f"0/{number}", "video.encoded", "poison", "", None, NOW) for number in range(letters)]
        self.calls = 0

    async def groups(self) -> list:
        self.calls += 1
        return []

    async def workers(self) -> list:
        return []

    async def letters(self) -> list[Letter]:
        return self._letters


class FaultyBrokers(Brokers):
    async def groups(self) -> list:
        raise KeyError("not foreseen")


async def test_the_newest_letters_are_shown_and_all_are_counted():
    """The page shows the newest dead letters, and the figure counts all."""
    watcher = Watcher(Database(), Brokers(letters=SHOWN + 7))
    await watcher.refresh()
    assert watcher.snapshot.letter_count == SHOWN + 7
    assert [letter.id for letter in watcher.snapshot.letters][:2] == [f"0/{SHOWN + 6}", f"0/{SHOWN + 5}"]
    assert len(watcher.snapshot.letters) == SHOWN


async def test_an_unexpected_error_is_shown_and_does_not_end_the_refreshing():
    """An unexpected error is shown as an error of its part, like an outage."""
    watcher = Watcher(UnreachableDatabase(), FaultyBrokers())
    await watcher.refresh()
    assert watcher.snapshot.errors["database"] == "no route to host"
    assert "unexpected error" in watcher.snapshot.errors["brokers"]
    assert watcher.snapshot.letter_count is None


async def test_what_costs_more_is_read_less_often():
    """The tables are read at each refresh; groups, replays and charts when they are due, or after an action."""
    database, brokers = Database(), Brokers()
    watcher = Watcher(database, brokers)
    for _ in range(3):
        await watcher.refresh()
    assert (database.calls, brokers.calls) == ({"tables": 3, "replays": 1, "charts": 1}, 1)
    assert watcher.snapshot.activity == ({"at": NOW.isoformat()},)
    await watcher.refresh(everything=True)
    assert (database.calls, brokers.calls) == ({"tables": 4, "replays": 2, "charts": 2}, 2)


async def test_what_an_outage_hid_is_read_again_at_once():
    """After an error every part is due, so that an unknown part is not shown as empty."""
    watcher = Watcher(Database(), Brokers())
    await watcher.refresh()
    reading, watcher._brokers.letters = watcher._brokers.letters, FaultyBrokers().groups
    await watcher.refresh()
    assert watcher.snapshot.errors
    watcher._brokers.letters = reading
    await watcher.refresh()
    assert watcher._brokers.calls == 2
    assert not watcher.snapshot.errors


async def test_viewers_are_woken_by_changes_alone():
    """A refresh without a change wakes no viewer; a refresh with a change wakes every viewer."""
    database = Database()
    watcher = Watcher(database, Brokers())
    await watcher.refresh()
    waiting = asyncio.create_task(watcher.changed_from(watcher.version, 30))
    await watcher.refresh()
    await asyncio.sleep(0)
    assert not waiting.done()
    database.completed = 1
    await watcher.refresh()
    assert await waiting
    assert not await watcher.changed_from(watcher.version, 0.01)


async def test_nothing_is_read_while_nobody_watches():
    """Without viewers the watcher reads nothing; the first viewer makes it read again."""
    database = Database()
    watcher = Watcher(database, Brokers())
    running = asyncio.create_task(watcher.run())
    await asyncio.sleep(0.05)
    assert database.calls["tables"] == 0
    watcher.viewers = 1
    watcher.hurry()
    assert await watcher.changed_from(0, 30)
    running.cancel()
