"""What the home page's watcher shows of the database and the brokers, tested with fakes."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from core.errors import TransientError
from pages.live.snapshot import SHOWN, Letter, Watcher
from storage.listings import Filter

NOW = datetime.now(UTC)


class Database:
    """Answers from a list of jobs, newest first."""

    def __init__(self, jobs: list[dict]) -> None:
        self._jobs = jobs

    async def overview(self, since: datetime, today: datetime) -> dict:
        return {"jobs": [], "replays": []}

    async def jobs(self, chosen: Filter, limit: int) -> AsyncIterator[dict]:
        for row in [row for row in self._jobs if chosen.status in (None, row["status"])][:limit]:
            yield row

    async def rejections(self, chosen: Filter, limit: int) -> AsyncIterator[dict]:
        for row in ():
            yield row


class UnreachableDatabase(Database):
    async def overview(self, since: datetime, today: datetime) -> dict:
        raise TransientError("no route to host")


class Brokers:
    def __init__(self, letters: int = 0) -> None:
        self._letters = [Letter(f"0/{number}", "video.encoded", "poison", "", None, NOW) for number in range(letters)]

    async def groups(self) -> list:
        return []

    async def letters(self) -> list[Letter]:
        return self._letters


class FaultyBrokers(Brokers):
    async def groups(self) -> list:
        raise KeyError("not foreseen")


def job(number: int, status: str) -> dict:
    return {"id": str(number), "run_id": f"run-{number}", "status": status, "created_at": (NOW - timedelta(seconds=number)).isoformat()}


async def test_a_backlog_does_not_hide_what_has_ended():
    """Recent runs are found however many newer jobs are waiting."""
    ended = [job(1000, "failed"), job(1001, "completed")]
    watcher = Watcher(Database([*(job(number, "queued") for number in range(999)), *ended]), Brokers())
    await watcher.refresh()
    assert [row["run_id"] for row in watcher.snapshot.recent] == ["run-1000", "run-1001"]
    assert len(watcher.snapshot.in_progress) == SHOWN


async def test_the_newest_letters_are_shown_and_all_are_counted():
    """The page shows the newest dead letters, and the figure counts all."""
    watcher = Watcher(Database([]), Brokers(letters=SHOWN + 7))
    await watcher.refresh()
    assert watcher.snapshot.letter_count == SHOWN + 7
    assert [letter.id for letter in watcher.snapshot.letters][:2] == [f"0/{SHOWN + 6}", f"0/{SHOWN + 5}"]
    assert len(watcher.snapshot.letters) == SHOWN


async def test_an_unexpected_error_is_shown_and_does_not_end_the_refreshing():
    """An unexpected error is shown as an error of its part, like an outage."""
    watcher = Watcher(UnreachableDatabase([]), FaultyBrokers())
    await watcher.refresh()
    assert watcher.snapshot.errors["database"] == "no route to host"
    assert "unexpected error" in watcher.snapshot.errors["brokers"]
    assert watcher.snapshot.letter_count is None
