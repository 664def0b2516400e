"""``extents submit``: publish ``video.encoded`` for a stored video, and follow it to its outcome."""

import asyncio
import sys
from typing import Final
from uuid import UUID, uuid4

import click

from cli.film.local_video import find_frame_count, is_chunk
from cli.service.following import beside, follow, warn_if_unread
from cli.shared.output import print_facts, print_json, remark
from cli.shared.parameters import ModelVersionParameter, UuidParameter, json_option
from core.errors import MissingObjectError
from core.frames import LEVELS, MAX_CHUNK_BYTES
from core.settings import Settings
from core.sizes import size
from core.types import Priority
from inference.media.chunk_length import count_frames
from storage.connect import object_keys, open_rows, open_store
from streams.kafka.brokers import require_topics
from streams.kafka.client import OutcomeReader, Published, ReceivedOutcome, publish
from streams.records import VideoEncoded
from streams.topics import Topics

_STATUS: Final = {"inference.completed": 0, "inference.rejected": 3, "inference.failed": 4}


@click.command(
    epilog="""\b
Examples:
  extents submit --tenant-id UUID --video-id UUID --watch
  extents submit --tenant-id UUID --video-id UUID --model-version mrn0fkfd --watch
  extents submit --tenant-id UUID --video-id UUID --force --priority low --json
\b
Exit status with --watch: 0 completed, 3 rejected, 4 failed.
\b
Settings: KAFKA_*, EXTENTS_TOPIC_PREFIX; WASABI_* unless --frame-count is given; SUPABASE_* with --watch."""
)
@click.option("--tenant-id", type=UuidParameter(), required=True, help="Tenant of the video.")
@click.option("--video-id", type=UuidParameter(), required=True, help="Id of the video.")
@click.option(
    "--version", type=click.IntRange(1, 2**31 - 1), metavar="N", default=1, show_default=True, help="Version of its cropped frames."
)
@click.option("--frame-count", type=click.IntRange(0, 2**31 - 1), metavar="N", help="Number of frames.  [default: counted in the store]")
@click.option("--model-version", type=ModelVersionParameter(), metavar="V", help="Model to use.  [default: the service's default]")
@click.option(
    "--priority",
    type=click.Choice([priority.value for priority in Priority]),
    default=Priority.HIGH.value,
    show_default=True,
    help="Low priority waits for high.",
)
@click.option("--force", is_flag=True, help="Run again even if a run exists.")
@click.option("--event-id", metavar="NAME", help="Name of this request; the same name means the same request.  [default: a new name]")
@click.option("--watch", is_flag=True, help="Wait for the outcome, and show the run's progress.")
@click.option(
    "--timeout",
    "timeout_seconds",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    default=3600.0,
    show_default=True,
    help="Stop watching after this time.",
)
@json_option
def command(
    tenant_id: UUID,
    video_id: UUID,
    version: int,
    frame_count: int | None,
    model_version: str | None,
    priority: str,
    force: bool,
    event_id: str | None,
    watch: bool,
    timeout_seconds: float,
    as_json: bool,
) -> None:
    """Publish video.encoded for a video in the object store.

    Without --frame-count the chunks are listed, and the last chunk of each level is read, so that an incomplete video is
    reported at once.
    """
    if event_id is not None and not 1 <= len(event_id) <= 200:
        raise click.UsageError(f"--event-id has {len(event_id)} characters; expected 1 to 200")
    settings = Settings()
    topics = Topics(settings.topics)

    async def run() -> int:
        count = frame_count if frame_count is not None else await _count_frames(settings, tenant_id, video_id, version)
        video = VideoEncoded(
            tenant_id=tenant_id,
            video_id=video_id,
            cropped_frames_version=version,
            frame_count=count,
            model_version=model_version,
            priority=Priority(priority),
            force=force,
            event_id=event_id or str(uuid4()),
        )
        watched = [topics.name(name) for name in OutcomeReader.NAMES] if watch else []
        await require_topics(settings.kafka, [topics.encoded, topics.encoded_low, *watched])
        if not watch:
            _print_published(await publish(settings.kafka, topics, video), video, as_json)
            return 0
        # A request that was named may have been answered before now, and is not answered twice.
        reading = OutcomeReader(settings.kafka, topics, from_beginning=event_id is not None)
        async with reading as outcomes, open_rows(settings.supabase) as rows:
            published = await publish(settings.kafka, topics, video)
            remark(f"request {published.request_id}: {count} frames, at {_place(published)}")
            async with beside(warn_if_unread(settings, topics, rows, published)):
                outcome = await follow(outcomes, rows, published.request_id, timeout_seconds)
        if outcome is None:
            remark(
                f"no outcome within {timeout_seconds:g} s; the run continues. To watch it again, add: --watch --event-id {video.event_id}"
            )
            return 1
        _print_outcome(outcome, published, as_json)
        return _STATUS[outcome.name]

    sys.exit(asyncio.run(run()))


async def _count_frames(settings: Settings, tenant: UUID, video: UUID, version: int) -> int:
    keys = object_keys(settings.keys)
    prefix = keys.chunk_prefix(tenant, video, version, "")
    async with open_store(settings.wasabi) as store:
        names = {name async for key in store.list_keys(prefix) if is_chunk(name := key.removeprefix(prefix))}
        where = f"s3://{store.bucket}/{prefix.rstrip('/')}"
        if not names:
            raise MissingObjectError(f"{where}: no chunks; to make them: extents encode VIDEO --tenant-id {tenant} --video-id {video}")
        last = [max((name for name in names if name.startswith(f"modulo_{level}/")), default=None) for level in LEVELS]
        data = {name: await store.get(keys.chunk(tenant, video, version, name), MAX_CHUNK_BYTES) for name in last if name}
    return find_frame_count(where, names, lambda name: count_frames(f"{where}/{name}", data[name]))


def _place(published: Published) -> str:
    return f"{published.topic}/{published.partition}/{published.offset}"


def _print_published(published: Published, video: VideoEncoded, as_json: bool) -> None:
    if as_json:
        names = {"request_id": published.request_id, "event_id": video.event_id}
        print_json({**names, "frame_count": video.frame_count, "record": _place(published)})
    else:
        print_facts([("request", str(published.request_id)), ("frames", str(video.frame_count)), ("record", _place(published))])


def _print_outcome(outcome: ReceivedOutcome, published: Published, as_json: bool) -> None:
    if as_json:
        print_json({"request_id": published.request_id, "event": outcome.name, "headers": outcome.headers, "body": outcome.body})
    else:
        print_facts(outcome_facts(outcome))


def outcome_facts(outcome: ReceivedOutcome) -> list[tuple[str, str]]:
    """An outcome as names and values for people."""
    body = outcome.body
    if outcome.name == "inference.rejected":
        return [("outcome", "rejected"), ("type", body["rejection_type"]), ("why", body["message"])]
    if outcome.name == "inference.failed":
        return [("outcome", body["outcome"]), ("run", body["run_id"]), ("why", body["reason"])]
    counts = ", ".join(f"{count} {label}" for label, count in body["label_counts"].items())
    return [
        ("outcome", "completed" + (", found: the run already existed" if body["deduplicated"] else "")),
        ("run", f"{body['run_id']}, attempt {body['attempt']}"),
        ("model", body["model_version"]),
        ("captions", str(body["caption_count"])),
        ("pairs", f"{body['pairs']}: {counts}"),
        ("seconds", f"{body['total_seconds']:.1f}, {body['queue_seconds']:.1f} of them queued, {body['gpu_seconds']:.1f} on the device"),
        ("cost", f"${body['estimated_cost_usd']:.5f}"),
        ("run DB", f"{body['storage_key']} ({size(body.get('size_bytes') or 0)})"),
    ]
