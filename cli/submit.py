"""``extents submit``: publish ``video.encoded`` for a stored video, and follow it to its outcome."""

import asyncio
import sys
from uuid import UUID

import click

from cli.following import Following, follow
from cli.local_video import find_frame_count
from cli.output import print_facts, print_json, remark, size
from cli.parameters import UuidParameter, json_option
from core.errors import MissingObjectError
from core.frames import LEVELS
from core.settings import Settings
from core.types import Priority
from inference.chunk_length import count_frames
from storage.connect import object_keys, open_rows, open_store
from storage.keys import Keys
from storage.objects import ObjectStore
from streams.client import Outcome, Outcomes, Published, publish
from streams.records import VideoEncoded
from streams.topics import Topics

MAX_CHUNK_BYTES = 64 * 1024 * 1024


@click.command(
    epilog="""\b
Examples:
  extents submit --tenant-id UUID --video-id UUID --watch
  extents submit --tenant-id UUID --video-id UUID --force --priority low --json
\b
Exit status with --watch: 0 completed, 3 rejected, 4 failed.
Settings: KAFKA_*, EXTENTS_TOPIC_PREFIX; WASABI_* unless --frame-count is given; SUPABASE_* with --watch."""
)
@click.option("--tenant-id", type=UuidParameter(), required=True, help="Whose video it is.")
@click.option("--video-id", type=UuidParameter(), required=True, help="Which video.")
@click.option("--version", type=click.IntRange(min=1), default=1, show_default=True, help="Version of its cropped frames.")
@click.option("--frame-count", type=int, help="Number of frames; by default counted in the store.")
@click.option("--model-version", help="Model to use; by default the service's own.")
@click.option("--priority", type=click.Choice([priority.value for priority in Priority]), default=Priority.HIGH.value, show_default=True)
@click.option("--force", is_flag=True, help="Run again although a run exists.")
@click.option("--event-id", help="Name of this request: the same name again is the same request.")
@click.option("--watch", is_flag=True, help="Wait for the outcome, and show how far the run is.")
@click.option(
    "--timeout", "timeout_seconds", type=click.FloatRange(min=0), default=3600.0, show_default=True, help="Seconds to watch at most."
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
    """Publish video.encoded for a video that lies in the object store."""
    settings = Settings()

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
            event_id=event_id,
        )
        if not watch:
            published = await publish(settings.kafka, Topics(settings.topics), video)
            _print_published(published, count, as_json)
            return 0
        async with Outcomes(settings.kafka, Topics(settings.topics)) as outcomes, open_rows(settings.supabase) as rows:
            published = await publish(settings.kafka, Topics(settings.topics), video)
            remark(f"request {published.request_id}: {count} frames, at {published.topic}/{published.partition}/{published.offset}")
            followed = await follow(outcomes, rows, published.request_id, timeout_seconds)
        return _print_followed(followed, published, timeout_seconds, as_json)

    sys.exit(asyncio.run(run()))


async def _count_frames(settings: Settings, tenant: UUID, video: UUID, version: int) -> int:
    keys = object_keys(settings.keys)
    async with open_store(settings.wasabi) as store:
        names = await _chunk_names(store, keys, tenant, video, version)
        if not names:
            prefix = keys.chunk_prefix(tenant, video, version, "")
            raise MissingObjectError(
                f"no chunks under s3://{store.bucket}/{prefix}; extents encode VIDEO --tenant-id … --video-id … puts them there"
            )
        last = [max((name for name in names if name.startswith(f"modulo_{level}/")), default=None) for level in LEVELS]
        data = {name: await store.get(keys.chunk(tenant, video, version, name), MAX_CHUNK_BYTES) for name in last if name}
    return find_frame_count(str(video), names, lambda name: count_frames(name, data[name]))


async def _chunk_names(store: ObjectStore, keys: Keys, tenant: UUID, video: UUID, version: int) -> set[str]:
    prefix = keys.chunk_prefix(tenant, video, version, "")
    return {key.removeprefix(prefix) async for key in store.list_keys(prefix)}


def _print_published(published: Published, frame_count: int, as_json: bool) -> None:
    place = f"{published.topic}/{published.partition}/{published.offset}"
    if as_json:
        print_json({"request_id": published.request_id, "frame_count": frame_count, "record": place})
    else:
        print_facts([("request", str(published.request_id)), ("frames", str(frame_count)), ("record", place)])


def _print_followed(followed: Following, published: Published, timeout_seconds: float, as_json: bool) -> int:
    outcome = followed.outcome
    if outcome is None:
        again = "it goes on; submit again with the same --event-id to watch"
        remark(f"no outcome of request {published.request_id} within {timeout_seconds:g} s: {again}")
        return 1
    if as_json:
        print_json({"request_id": published.request_id, "event": outcome.name, "headers": outcome.headers, "body": outcome.body})
    else:
        print_facts(outcome_facts(outcome))
    return {"inference.completed": 0, "inference.rejected": 3, "inference.failed": 4}[outcome.name]


def outcome_facts(outcome: Outcome) -> list[tuple[str, str]]:
    """An outcome as names and values for people."""
    body = outcome.body
    if outcome.name == "inference.rejected":
        return [("outcome", "rejected"), ("type", body["rejection_type"]), ("why", body["message"])]
    if outcome.name == "inference.failed":
        return [("outcome", body["outcome"]), ("run", body["run_id"]), ("why", body["reason"])]
    counts = ", ".join(f"{count} {label}" for label, count in body["label_counts"].items())
    return [
        ("outcome", "completed" + (", found: the run existed" if body["deduplicated"] else "")),
        ("run", f"{body['run_id']}, attempt {body['attempt']}"),
        ("model", body["model_version"]),
        ("captions", str(body["caption_count"])),
        ("pairs", f"{body['pairs']}: {counts}"),
        ("seconds", f"{body['total_seconds']:.1f}, {body['queue_seconds']:.1f} of them queued, {body['gpu_seconds']:.1f} on the device"),
        ("cost", f"${body['estimated_cost_usd']:.5f}"),
        ("run DB", f"{body['storage_key']} ({size(body.get('size_bytes') or 0)})"),
    ]
