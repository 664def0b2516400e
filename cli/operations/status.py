"""``extents status``: the whole service at a glance."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from cli.shared.default_model import usual_model
from cli.shared.listing import age_text, moment_text
from cli.shared.output import print_facts, print_json
from cli.shared.parameters import json_option
from core.settings import Settings
from storage.connect import open_listings
from storage.listings import Row
from streams.kafka.dead_letter_reader import DeadLetterReader
from streams.kafka.group_state import GroupState, look_at_groups
from streams.policy.stored_letters import Selection
from streams.topics import COORDINATOR, GPU_WORKER, Topics

EVERY_SECONDS = 5.0


@click.command(
    epilog="""\b
Examples:
  extents status
  extents status --watch
  extents status --json | jq .jobs
\b
Exit status 1 when a role has no worker.
\b
Settings: KAFKA_*, SUPABASE_*, EXTENTS_TOPIC_PREFIX, EXTENTS_GPU_USD_PER_HOUR, EXTENTS_DAILY_BUDGET_USD."""
)
@click.option("--watch", is_flag=True, help="Look again every few seconds, until Ctrl-C.")
@json_option
def command(watch: bool, as_json: bool) -> None:
    """Show workers, jobs, lag, the last hour's outcomes, what wants attention, replays, and today's cost."""
    while True:
        found = asyncio.run(_look())
        if watch:
            click.clear()
        if as_json:
            print_json(found)
        else:
            print_facts(status_facts(found))
        if not watch:
            raise click.exceptions.Exit(0 if all(group["members"] for group in found["groups"].values()) else 1)
        asyncio.run(asyncio.sleep(EVERY_SECONDS))


async def _look() -> dict[str, Any]:
    settings = Settings()
    topics = Topics(settings.topics)
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    roles = {
        COORDINATOR: [topics.encoded, topics.encoded_low, topics.results],
        GPU_WORKER: [topics.work_high, topics.work_low],
    }
    async with open_listings(settings.supabase) as listings:
        overview, groups, letters, model = await asyncio.gather(
            listings.overview(now - timedelta(hours=1), midnight),
            look_at_groups(settings.kafka, {topics.group(role): read for role, read in roles.items()}),
            DeadLetterReader(settings.kafka, topics).read(Selection()),
            usual_model(listings, settings.admission),
        )
    admission = settings.admission
    spent = overview["gpu_seconds_today"] / 3600 * admission.gpu_usd_per_hour
    return {
        "at": now,
        "groups": {role: _group(group) for role, group in zip(roles, groups, strict=True)},
        "jobs": overview["jobs"],
        "last_hour": {"completed": overview["completed"], "failed": overview["failed"], "decisions": overview["decisions"]},
        "dead_letters": len(letters),
        "unacknowledged_rejections": overview["unacknowledged_rejections"],
        "replays": overview["replays"],
        "model": {"version": model.version, "reason": model.reason},
        "today": {"gpu_seconds": overview["gpu_seconds_today"], "cost_usd": spent, "budget_usd": admission.daily_budget_usd},
    }


def _group(group: GroupState) -> dict[str, Any]:
    members = [{"client_id": member.client_id, "host": member.host} for member in group.members]
    return {"group": group.group, "state": group.state, "members": members, "lag": group.lag}


def status_facts(found: dict[str, Any]) -> list[tuple[str, str]]:
    groups, hour, today = found["groups"], found["last_hour"], found["today"]
    lag = {topic: count for group in groups.values() for topic, count in group["lag"].items()}
    behind = [f"{topic} {count}" for topic, count in lag.items() if count]
    decisions = hour["decisions"]
    budget = f" of ${today['budget_usd']:.2f} (EXTENTS_DAILY_BUDGET_USD)" if today["budget_usd"] else ""
    return [
        ("at", f"{moment_text(found['at'])} UTC"),
        ("coordinators", _workers(groups[COORDINATOR], COORDINATOR)),
        ("GPU workers", _workers(groups[GPU_WORKER], "gpu")),
        ("high priority", _jobs(found["jobs"], "high")),
        ("low priority", _jobs(found["jobs"], "low")),
        ("lag", ", ".join(behind) or "none"),
        (
            "last hour",
            f"{hour['completed']} completed, {hour['failed']} failed, {decisions.get('found', 0)} found, "
            f"{decisions.get('rejected', 0)} rejected",
        ),
        ("dead letters", _wanting(found["dead_letters"], "extents dead-letters list")),
        ("rejections", _wanting(found["unacknowledged_rejections"], "extents rejections list", "unseen")),
        ("replays", "; ".join(_replay(replay) for replay in found["replays"]) or "none"),
        ("model", f"{found['model']['version']} ({found['model']['reason']})"),
        ("today", f"{today['gpu_seconds'] / 3600:.2f} GPU hours, ${today['cost_usd']:.2f}{budget}"),
    ]


def _workers(group: dict[str, Any], role: str) -> str:
    count = len(group["members"])
    if not count:
        return f"NONE: nobody reads {', '.join(group['lag'])}; start one: extents worker {role}"
    return f"{count}, {'ready' if group['state'] == 'Stable' else group['state']}"


def _jobs(jobs: list[Row], priority: str) -> str:
    mine = {job["status"]: job for job in jobs if job["priority"] == priority}
    if not mine:
        return "nothing unfinished"
    oldest = min(job["oldest_at"] for job in mine.values())
    counts = ", ".join(f"{mine[status]['count']} {status}" for status in ("queued", "running") if status in mine)
    return f"{counts}, the oldest for {age_text(oldest)}"


def _wanting(count: int, command: str, what: str = "") -> str:
    return f"{count} {what}".rstrip() + (f": {command}" if count else "")


def _replay(replay: Row) -> str:
    return f"{replay['replay_id']} {replay['state']}" + (f" ({replay['reason']})" if replay["reason"] else "")
