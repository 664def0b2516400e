"""``extents purge``: deletes everything of a video or a tenant, and has admission refuse it from then on."""

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import click

from cli.operations.requests.jobs import UNFINISHED
from cli.shared.filters import who
from cli.shared.listing import Row
from cli.shared.output import print_facts, print_json, progress, remark
from cli.shared.parameters import UuidParameter, json_option
from core.settings import KeySettings, Settings, variable
from storage.connect import object_keys, open_listings, open_store
from storage.listings import Filter, Listings
from storage.objects import ObjectStore
from streams.kafka.brokers import require_topics
from streams.kafka.cancelling import cancel_runs
from streams.kafka.letter_purge import PurgedLetters, find_letters, purge_letters
from streams.policy.stored_letters import StoredLetter, Subject
from streams.topics import Topics

WAIT_SECONDS: Final = 120
TABLES: Final = ("runs", "run_history", "jobs", "rejections", "requests", "replay_items")


@click.command(
    epilog="""\b
Examples:
  extents purge --tenant UUID --video UUID --reason "the owner asked for it"
  extents purge --tenant UUID
  extents purge --tenant UUID --video UUID --undo
\b
Settings: SUPABASE_*, WASABI_*, KAFKA_*, EXTENTS_TOPIC_PREFIX, EXTENTS_KEY_*."""
)
@click.option("--tenant", "tenant_id", type=UuidParameter(), required=True, help="Tenant whose data to purge.")
@click.option("--video", "video_id", type=UuidParameter(), help="Purge only this video.  [default: everything of the tenant]")
@click.option("--reason", metavar="TEXT", help="The reason, which rejections of further requests quote.")
@click.option("--undo", is_flag=True, help="Accept requests again. Deleted data is not restored.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def command(tenant_id: UUID, video_id: UUID | None, reason: str | None, undo: bool, yes: bool, as_json: bool) -> None:
    """Delete frames, run databases and rows of a video or a whole tenant, and refuse its requests from then on.

    First, admission is made to refuse requests, so that no replay brings anything back. Then unfinished jobs are
    cancelled, objects and rows are deleted, and dead letters are marked, so that nobody redrives them. Kafka cannot
    delete a single record: a letter is deleted at once only if all letters before it were purged as well. Other records
    hold ids and probabilities but no pictures, and expire with their topics' retention. If the command is interrupted, run
    it again.
    """
    what = f"video {video_id} of tenant {tenant_id}" if video_id else f"everything of tenant {tenant_id}"
    if undo:
        removed = asyncio.run(_undo(tenant_id, video_id))
        if as_json:
            print_json({"tenant_id": tenant_id, "video_id": video_id, "undone": removed})
        remark(f"{what} is allowed again" if removed else f"{what} was not purged")
        return
    rows, objects, letters = asyncio.run(_plan(tenant_id, video_id))
    if not as_json:
        print_facts(
            [
                ("purge", what),
                ("objects", f"{len(objects)}"),
                ("rows", ", ".join(f"{count} {table.replace('_', ' ')}" for table, count in rows.items())),
                ("letters", f"{len(letters)}"),
            ]
        )
    if not yes:
        click.confirm("delete all of it, for good?", abort=True, err=True)
    left = asyncio.run(_purge(tenant_id, video_id, reason))
    if as_json:
        print_json({"tenant_id": tenant_id, "video_id": video_id, "objects": len(objects), "rows": rows, "letters": asdict(left)})
    remark(f"{what} is purged; its requests are rejected from now on")
    for text in _about_letters(left):
        remark(text)


def _equal(tenant_id: UUID, video_id: UUID | None) -> dict[str, str]:
    return {"tenant_id": str(tenant_id), **({"video_id": str(video_id)} if video_id else {})}


def key_prefixes(keys: KeySettings, tenant_id: UUID, video_id: UUID | None) -> set[str]:
    """Return the prefixes of all keys of the video or the tenant: each template up to the last of the ids.

    An id has a fixed length, so no other id's keys share the prefix.
    """
    ids = _equal(tenant_id, video_id)
    prefixes = set()
    for name in ("chunk", "layout", "run_db"):
        template: str = getattr(keys, name)
        end = max(template.index(field) + len(field) for field in (f"{{{id_name}}}" for id_name in ids))
        try:
            prefixes.add(template[:end].format(**ids))
        except KeyError as error:
            setting = variable(KeySettings, name)
            raise click.ClickException(
                f"{setting} is {template!r}: {{{error.args[0]}}} comes first, so there is no common prefix; delete these objects by hand"
            ) from None
    return prefixes


def _about_letters(left: PurgedLetters) -> list[str]:
    """Say how many dead letters remain in Kafka, and until when."""
    if not left.kept:
        return []
    until = f"until {left.kept_until:%Y-%m-%d} at the latest" if left.kept_until else "forever, because the topic has no retention limit"
    why = f"Kafka refused to delete any ({left.refused})" if left.refused else "they come after letters that are still needed"
    return [f"{left.kept} of {left.marked} dead letters stay in their topic {until}: {why}. No command redrives them"]


async def _subject(listings: Listings, tenant_id: UUID, video_id: UUID | None) -> Subject:
    """Collect the ids from the rows before they are deleted: a record does not always name its tenant."""
    chosen = Filter(tenant_id=tenant_id, video_id=video_id)
    videos, runs = set(), set()
    for rows in (listings.requests(chosen), listings.jobs(chosen), listings.run_history(chosen)):
        async for row in rows:
            videos.add(UUID(row["video_id"]))
            runs |= {UUID(row["run_id"])} if _is_uuid(row["run_id"]) else set()
    return Subject(tenant_id, video_id, frozenset(videos), frozenset(runs))


def _is_uuid(name: str | None) -> bool:
    """Return whether it is a UUID. Runs of the former service may have other names, or none."""
    try:
        UUID(name or "")
    except ValueError:
        return False
    return True


async def _plan(tenant_id: UUID, video_id: UUID | None) -> tuple[dict[str, int], list[str], list[StoredLetter]]:
    settings = Settings()
    topics = Topics(settings.topics)
    await require_topics(settings.kafka, [topics.dead_letter])
    object_keys(settings.keys)
    equal = _equal(tenant_id, video_id)
    async with open_listings(settings.supabase) as listings, open_store(settings.wasabi) as store:
        rows = {table: await listings.count(table, lambda query: query.match(equal)) for table in TABLES}
        letters = await find_letters(settings.kafka, topics, await _subject(listings, tenant_id, video_id))
        return rows, await _objects(listings, store, tenant_id, video_id), letters


async def _objects(listings: Listings, store: ObjectStore, tenant_id: UUID, video_id: UUID | None) -> list[str]:
    """Return the keys below the prefixes, and those of the databases that the rows of runs name."""
    prefixes = key_prefixes(Settings().keys, tenant_id, video_id)
    keys = {key for prefix in prefixes async for key in store.list_keys(prefix)}
    async for row in listings.run_history(Filter(tenant_id=tenant_id, video_id=video_id)):
        if row["deleted_at"] is None:
            keys.add(row["wasabi_storage_key"])
    return sorted(keys)


async def _purge(tenant_id: UUID, video_id: UUID | None, reason: str | None) -> PurgedLetters:
    settings = Settings()
    object_keys(settings.keys)
    equal = _equal(tenant_id, video_id)
    mark = {"tenant_id": str(tenant_id), "video_id": video_id and str(video_id), "reason": reason, "purged_by": who()}
    async with open_listings(settings.supabase) as listings, open_store(settings.wasabi) as store:
        if not await _mark_of(listings, tenant_id, video_id):
            await listings.insert("purges", [mark])
        await _cancel(settings, listings, Filter(tenant_id=tenant_id, video_id=video_id))
        subject = await _subject(listings, tenant_id, video_id)
        await listings.delete("runs", equal)
        keys = await _objects(listings, store, tenant_id, video_id)
        with progress("deleting", "objects") as report:
            for number, key in enumerate(keys, start=1):
                await store.delete(key)
                report(number, len(keys))
        note = f"purged by {who()}" + (f": {reason}" if reason else "")
        left = await purge_letters(settings.kafka, Topics(settings.topics), subject, note)
        for table in TABLES:
            await listings.delete(table, equal)
        completed = {"completed_at": datetime.now(UTC).isoformat()}
        await listings.update("purges", completed, {"tenant_id": str(tenant_id), "video_id": video_id and str(video_id)})
    return left


async def _cancel(settings: Settings, listings: Listings, chosen: Filter) -> None:
    """Cancel unfinished runs, and wait until they have ended: a run that finishes later would write its rows again."""

    async def unfinished() -> list[Row]:
        return [row async for row in listings.jobs(chosen) if row["status"] in UNFINISHED and row["run_id"] is not None]

    jobs = await unfinished()
    if jobs:
        runs = [(UUID(row["run_id"]), row["attempt"]) for row in jobs]
        await cancel_runs(settings.kafka, Topics(settings.topics), runs, f"purged by {who()}")
    for _ in range(WAIT_SECONDS):
        if not await unfinished():
            return
        await asyncio.sleep(1)
    raise click.ClickException(
        f"{len(await unfinished())} jobs have not ended within {WAIT_SECONDS} s, so nothing was deleted; check that a coordinator is "
        "running, and purge again. New requests are already refused"
    )


async def _mark_of(listings: Listings, tenant_id: UUID, video_id: UUID | None) -> list[Row]:
    rows = [row async for row in listings.pages("purges", lambda query: query.eq("tenant_id", str(tenant_id)), ("id",))]
    return [row for row in rows if row["video_id"] == (video_id and str(video_id))]


async def _undo(tenant_id: UUID, video_id: UUID | None) -> bool:
    async with open_listings(Settings().supabase) as listings:
        marks = await _mark_of(listings, tenant_id, video_id)
        for mark in marks:
            await listings.delete("purges", {"id": str(mark["id"])})
        return bool(marks)
