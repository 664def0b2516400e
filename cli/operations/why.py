"""``extents why``: everything known about a video, in chronological order."""

import asyncio
from uuid import UUID

import click

from cli.shared.listing import moment_text
from cli.shared.output import print_json
from cli.shared.parameters import UuidParameter, json_option
from core.history import HistoryEntry
from core.settings import Settings
from storage.connect import open_listings, open_store
from storage.history import read_history
from streams.kafka.video_log import read_video_log
from streams.topics import Topics


@click.command(
    epilog="""\b
Examples:
  extents why 3f2b8c1e-0d4a-4c57-9a61-7b1f0c2d9e55
  extents why 3f2b8c1e-0d4a-4c57-9a61-7b1f0c2d9e55 --json
\b
Exit status 1 if nothing is known about the video.
\b
Settings: SUPABASE_*, WASABI_*, KAFKA_*, EXTENTS_TOPIC_PREFIX."""
)
@click.argument("video", type=UuidParameter())
@json_option
def command(video: UUID, as_json: bool) -> None:
    """Show the history of a video: its requests and decisions, and its runs' spans, rows, objects and dead letters.

    The last line sums it up in one sentence. The live page shows the same on a video's page.
    """
    entries, sentence = asyncio.run(_look(video))
    if as_json:
        listed = [{"at": entry.at, "what": entry.kind, "detail": entry.detail} for entry in entries]
        print_json({"video_id": video, "moments": listed, "why": sentence})
    else:
        for entry in entries:
            click.echo(f"{moment_text(entry.at)}  {entry.kind:<10} {entry.detail}")
        click.echo(f"{sentence}" if not entries else f"\n{sentence}")
    if not entries:
        raise click.exceptions.Exit(1)


async def _look(video: UUID) -> tuple[list[HistoryEntry], str]:
    settings = Settings()
    async with open_listings(settings.supabase) as listings, open_store(settings.wasabi) as store:
        stored = await read_history(listings, store, settings.admission, video)
    logged = await read_video_log(settings.kafka, Topics(settings.topics), video, stored.runs, stored.since)
    return sorted([*stored.entries, *logged], key=lambda entry: entry.at), stored.sentence
