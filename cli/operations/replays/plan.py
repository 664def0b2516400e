"""``extents replay plan``: plans what a replay sends and costs, and stores the plan."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import click

from cli.operations.replays.sources import Choice, Sources, from_topic, lacking_model, rejected
from cli.shared.default_model import usual_model
from cli.shared.filters import who
from cli.shared.listing import duration
from cli.shared.output import Report, print_facts, print_json, progress, remark
from cli.shared.parameters import ModelVersionParameter, MomentParameter, UuidParameter, json_option
from core.identity import parse_uuid
from core.settings import Settings
from core.types import MODEL_VERSION, RejectionType
from storage.connect import open_replays
from storage.listings import Filter, Row
from storage.replays import Replays
from streams.kafka.request_reader import Window
from streams.policy.replay_plan import ReplayItem, plan_items

SETTINGS: Final = (
    "\n\b\nSettings: SUPABASE_*, KAFKA_*, EXTENTS_TOPIC_PREFIX; EXTENTS_GPU_USD_PER_HOUR and EXTENTS_EXPECTED_PAIRS_PER_SECOND."
)


@click.command(
    epilog=f"""\b
Examples:
  extents replay plan --from 2026-11-01 --to 2026-11-08 --model mrn0fkfd --name november
  extents replay plan --lacking-model mrn0fkfd --tenant UUID
  extents replay plan --rejected frame_count_exceeded --from 7d
  extents replay plan --ids videos.txt --force
{SETTINGS}"""
)
@click.option("--from", "since", type=MomentParameter(), help="Only records since this time or age: 2026-11-01, 7d.")
@click.option("--to", "until", type=MomentParameter(), help="Only records before this time or age.")
@click.option("--partition", "partitions", type=click.IntRange(min=0), multiple=True, metavar="N", help="Only records of this partition.")
@click.option("--offsets", multiple=True, metavar="P:FIRST-LAST", help="Only these offsets of video.encoded, such as 0:100-250.")
@click.option("--lacking-model", metavar="V", type=ModelVersionParameter(), help="Videos whose newest frames have no run of this model.")
@click.option(
    "--rejected",
    "rejection_type",
    type=click.Choice([kind.value for kind in RejectionType]),
    help="Videos whose requests were rejected with this type.",
)
@click.option("--tenant", "tenants", type=UuidParameter(), multiple=True, help="Only this tenant's videos.")
@click.option("--video", "videos", type=UuidParameter(), multiple=True, help="Only this video.")
@click.option("--ids", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE", help="Only the videos named in FILE.")
@click.option("--all", "every_record", is_flag=True, help="Send every record, not only the newest of each video.")
@click.option("--model", metavar="V", type=ModelVersionParameter(), help="Model to use.  [default: the model that new runs get]")
@click.option("--force", is_flag=True, help="Run again even if a run of this model exists.")
@click.option("--priority", type=click.Choice(["low", "high"]), default="low", show_default=True, help="Low priority waits for high.")
@click.option("--name", metavar="NAME", help="Name of the replay.  [default: made from the time]")
@json_option
def plan(
    partitions: tuple[int, ...],
    offsets: tuple[str, ...],
    tenants: tuple[UUID, ...],
    videos: tuple[UUID, ...],
    ids: Path | None,
    every_record: bool,
    name: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Plan a replay, and store the plan. Sends nothing.

    The requests come from video.encoded and video.encoded.low (the newest record of each video), or from the registry with
    --lacking-model or --rejected. Videos that already have a run of the model are left out, unless --force is
    given.
    """
    if options["lacking_model"] and (options["rejection_type"] or options["since"] or options["until"]):
        raise click.UsageError("--lacking-model looks at all videos, so it cannot be combined with --rejected, --from or --to")
    if (options["lacking_model"] or options["rejection_type"]) and (partitions or offsets):
        raise click.UsageError(
            "--partition and --offsets choose records of the topics, so they cannot be combined with --lacking-model or --rejected"
        )
    if options["lacking_model"] and options["model"] not in (None, options["lacking_model"]):
        raise click.UsageError("--lacking-model already names the model; leave --model out")
    name = name or f"replay-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    if MODEL_VERSION.fullmatch(name) is None:
        raise click.UsageError(f"--name {name!r}; expected up to 64 letters, digits, '.', '_' and '-', the first a letter or digit")
    choice = Choice(frozenset(tenants), frozenset(videos) | _ids(ids), every_record)
    window = Window(since=options["since"], until=options["until"], partitions=frozenset(partitions), offsets=_offsets(offsets))
    settings = Settings()

    async def run(report: Report) -> dict[str, Any]:
        async with open_replays(settings.supabase) as replays:
            model = options["model"] or options["lacking_model"] or (await usual_model(replays, settings.admission)).version
            if options["lacking_model"]:
                sources = await lacking_model(replays, model, choice, report)
            elif options["rejection_type"]:
                chosen = Filter(rejection_type=options["rejection_type"], since=options["since"], until=options["until"])
                sources = await rejected(replays, chosen, choice, report)
            else:
                sources = await from_topic(settings, window, choice, report)
            return await _store(replays, settings, name, model, sources, options)

    with progress("planning", "records") as report:
        planned = asyncio.run(run(report))
    if as_json:
        print_json(planned)
        return
    print_facts(plan_facts(planned))
    for text in planned["remarks"]:
        remark(text)
    remark(f"nothing was sent. To send it: extents replay start {name}" if planned["items"] else "there is nothing to send")


async def _store(replays: Replays, settings: Settings, name: str, model: str, sources: Sources, options: dict[str, Any]) -> dict[str, Any]:
    admission = settings.admission
    usd_per_pair = admission.gpu_usd_per_hour / 3600 / admission.expected_pairs_per_second
    present = await replays.present_runs(sorted({source.video_id for source in sources.sources}))
    by_frames: dict[tuple[str, int], Row] = {}
    existing: set[tuple[str, int]] = set()
    for row in present:
        frames = (row["video_id"], row["cropped_frames_version"])
        if frames not in by_frames or row["completed_at"] > by_frames[frames]["completed_at"]:
            by_frames[frames] = row
        if row["model_version"] == model:
            existing.add(frames)
    wanted = [
        source for source in sources.sources if options["force"] or (str(source.video_id), source.cropped_frames_version) not in existing
    ]
    items = plan_items(name, wanted, usd_per_pair)
    usage = await replays.usage(*_last_hour(), "model")
    pairs = sum(max(0, item.source.frame_count - 1) for item in items)
    present_rate = sum(row["pairs"] for row in usage) / 3600
    summary = {
        "replay_id": name,
        "looked_at": sources.looked_at,
        "videos": len({source.video_id for source in sources.sources}),
        "exist": len(sources.sources) - len(wanted),
        "items": len(items),
        "model_version": model,
        "force": options["force"],
        "priority": options["priority"],
        "pairs": pairs,
        "gpu_hours": pairs / admission.expected_pairs_per_second / 3600,
        "estimated_cost_usd": pairs * usd_per_pair,
        "pairs_per_second_last_hour": present_rate,
        "estimated_seconds": pairs / (present_rate or admission.expected_pairs_per_second),
        "remarks": sources.remarks,
    }
    if items:
        row = {
            "replay_id": name,
            "source": {"options": {key: _text(value) for key, value in options.items() if value}, "items": len(items), **_kept(summary)},
            "skipped": summary["exist"],
            "model_version": model,
            "force": options["force"],
            "priority": options["priority"],
            "created_by": who(),
        }
        if not await replays.create(row, [_row(item, by_frames) for item in items]):
            raise click.ClickException(f"a replay {name} exists already: choose another --name, or see extents replay status {name}")
    return summary


def item_row(item: ReplayItem) -> dict[str, Any]:
    """Return the row of an item that has no run to compare with."""
    source = item.source
    return {
        "tenant_id": str(source.tenant_id),
        "video_id": str(source.video_id),
        "cropped_frames_version": source.cropped_frames_version,
        "frame_count": source.frame_count,
        "event_id": item.event_id,
        "request_id": str(item.request_id),
        "source": source.name,
        "estimated_cost_usd": item.estimated_cost_usd,
    }


def _row(item: ReplayItem, by_frames: dict[tuple[str, int], Row]) -> dict[str, Any]:
    source = item.source
    baseline = by_frames.get((str(source.video_id), source.cropped_frames_version))
    return {
        **item_row(item),
        "baseline_run_id": baseline and baseline["run_id"],
        "baseline_key": baseline and baseline["wasabi_storage_key"],
    }


def plan_facts(planned: dict[str, Any]) -> list[tuple[str, str]]:
    rate = planned["pairs_per_second_last_hour"]
    basis = f"{rate:.{0 if rate >= 10 else 2}f} pairs/s, the last hour's rate" if rate else "one GPU; nothing was computed in the last hour"
    forced = ", run again although they exist" if planned["force"] else f", {planned['exist']} exist and are left out"
    return [
        ("plan", planned["replay_id"]),
        ("looked at", f"{planned['looked_at']} records, {planned['videos']} videos"),
        ("to send", f"{planned['items']}{forced}"),
        ("model", planned["model_version"]),
        ("priority", planned["priority"]),
        ("pairs", str(planned["pairs"])),
        ("GPU", f"{planned['gpu_hours']:.2f} hours, ${planned['estimated_cost_usd']:.2f}"),
        ("takes", f"about {duration(planned['estimated_seconds'])} at {basis}"),
    ]


def _kept(summary: dict[str, Any]) -> dict[str, Any]:
    return {name: summary[name] for name in ("looked_at", "videos", "pairs", "gpu_hours", "estimated_cost_usd")}


def _text(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _last_hour() -> tuple[datetime, datetime]:
    now = datetime.now(UTC)
    return now - timedelta(hours=1), now


def _ids(path: Path | None) -> frozenset[UUID]:
    """Read one id a line; empty lines and comments after ``#`` do not count."""
    if path is None:
        return frozenset()
    ids = set()
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        text = line.partition("#")[0].strip()
        if text:
            try:
                ids.add(parse_uuid(text))
            except ValueError as error:
                raise click.ClickException(f"{path}, line {number}: {error}") from None
    if not ids:
        raise click.ClickException(f"{path} names no video; expected one id a line")
    return frozenset(ids)


def _offsets(texts: tuple[str, ...]) -> dict[int, tuple[int, int]] | None:
    offsets: dict[int, tuple[int, int]] = {}
    for text in texts:
        partition, colon, ends = text.partition(":")
        first, dash, last = ends.partition("-")
        if not (colon and dash and partition.isdigit() and first.isdigit() and last.isdigit() and int(first) <= int(last)):
            raise click.UsageError(f"--offsets {text!r}; expected PARTITION:FIRST-LAST, such as 0:100-250")
        offsets[int(partition)] = (int(first), int(last) + 1)
    return offsets or None
