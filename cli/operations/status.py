"""``extents status``: the whole service at a glance."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from cli.shared.default_model import usual_model
from cli.shared.listing import age_text, moment_text
from cli.shared.output import print_json, print_wrapped_facts
from cli.shared.parameters import json_option
from cli.shared.worker_table import print_workers, summarize
from core.errors import ExtentsError, TransientError
from core.settings import Settings
from core.workers import SeenWorker, WorkerState
from storage.connect import open_listings
from storage.listings import Row
from streams.kafka.dead_letter_reader import DeadLetterReader
from streams.kafka.group_state import GroupState, look_at_groups
from streams.kafka.heartbeat_reader import read_workers
from streams.policy.stored_letters import Selection
from streams.topics import COORDINATOR, GPU_WORKER, Topics

EVERY_SECONDS = 5.0


@click.command(
    epilog="""\b
Examples:
  extents status
  extents status --watch
  extents status --json | jq '.workers[] | select(.state != "ready")'
\b
Exit status 1 when a role has no worker.
\b
Settings: KAFKA_*, SUPABASE_*, EXTENTS_TOPIC_PREFIX, EXTENTS_GPU_USD_PER_HOUR, EXTENTS_DAILY_BUDGET_USD."""
)
@click.option("--watch", is_flag=True, help="Refresh every few seconds until Ctrl-C.")
@json_option
def command(watch: bool, as_json: bool) -> None:
    """Show workers, jobs, lag, the last hour's outcomes, what needs attention, replays, and today's cost.

    Each worker reports every few seconds (EXTENTS_HEARTBEAT_SECONDS) whether it is ready, or what it waits for, and how fast and
    busy it was in the last minute. A worker is GONE if it missed three heartbeats without announcing its end. It stays in the
    list for an hour.
    """
    while True:
        status = _look_again() if watch else asyncio.run(_look())
        if watch and not as_json:
            click.clear()
        if status is not None:
            print_json(status) if as_json else print_status(status)
        if not watch:
            assert status is not None
            raise click.exceptions.Exit(0 if all(group["members"] for group in status["groups"].values()) else 1)
        asyncio.run(asyncio.sleep(EVERY_SECONDS))


def _look_again() -> dict[str, Any] | None:
    """Return None if a dependency does not respond, so that ``--watch`` continues."""
    try:
        return asyncio.run(_look())
    except TransientError as error:
        click.echo(f"{moment_text(datetime.now(UTC))} UTC: {error}", err=True)
        return None


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
        overview, groups, letters, model, (workers, silence) = await asyncio.gather(
            listings.overview(now - timedelta(hours=1), midnight),
            look_at_groups(settings.kafka, {topics.group(role): read for role, read in roles.items()}),
            DeadLetterReader(settings.kafka, topics).read(Selection()),
            usual_model(listings, settings.admission),
            _heard(settings, topics),
        )
    admission = settings.admission
    spent = overview["gpu_seconds_today"] / 3600 * admission.gpu_usd_per_hour
    return {
        "at": now,
        "groups": {role: _group(group) for role, group in zip(roles, groups, strict=True)},
        "workers": [{**worker.as_json(now), "up_seconds": (now - worker.started_at).total_seconds()} for worker in workers],
        "heartbeats_error": silence,
        "jobs": overview["jobs"],
        "last_hour": {"completed": overview["completed"], "failed": overview["failed"], "decisions": overview["decisions"]},
        "dead_letters": len(letters),
        "unacknowledged_rejections": overview["unacknowledged_rejections"],
        "replays": overview["replays"],
        "model": {"version": model.version, "reason": model.reason},
        "today": {"gpu_seconds": overview["gpu_seconds_today"], "cost_usd": spent, "budget_usd": admission.daily_budget_usd},
    }


async def _heard(settings: Settings, topics: Topics) -> tuple[list[SeenWorker], str | None]:
    """Return the workers by their heartbeats, or why these cannot be read. Everything else is shown anyway."""
    try:
        return await read_workers(settings.kafka, topics), None
    except ExtentsError as error:
        return [], str(error)


def _group(group: GroupState) -> dict[str, Any]:
    members = [{"client_id": member.client_id, "host": member.host} for member in group.members]
    return {"group": group.group, "state": group.state, "members": members, "lag": group.lag}


def print_status(status: Mapping[str, Any]) -> None:
    """Print what ``--json`` has, within the width of the terminal."""
    print_wrapped_facts(_facts(status))
    print_workers(status["workers"])


def _facts(status: Mapping[str, Any]) -> list[tuple[str, str]]:
    groups, hour, today = status["groups"], status["last_hour"], status["today"]
    lag = {topic: count for group in groups.values() for topic, count in group["lag"].items()}
    behind = [f"{topic} {count}" for topic, count in lag.items() if count]
    decisions = hour["decisions"]
    budget = f" of ${today['budget_usd']:.2f} (EXTENTS_DAILY_BUDGET_USD)" if today["budget_usd"] else ""
    facts = [
        ("at", f"{moment_text(status['at'])} UTC"),
        ("coordinators", _workers(status, COORDINATOR, "coordinator")),
        ("GPU workers", _workers(status, GPU_WORKER, "gpu") + _speed(status["workers"])),
        ("high priority", _jobs(status["jobs"], "high")),
        ("low priority", _jobs(status["jobs"], "low")),
        ("lag", ", ".join(behind) or "none"),
        (
            "last hour",
            f"{hour['completed']} completed, {hour['failed']} failed, {decisions.get('found', 0)} found, "
            f"{decisions.get('rejected', 0)} rejected",
        ),
        ("dead letters", _wanting(status["dead_letters"], "extents dead-letters list")),
        ("rejections", _wanting(status["unacknowledged_rejections"], "extents rejections list", "unseen")),
        ("replays", "; ".join(_replay(replay) for replay in status["replays"]) or "none"),
        ("model", f"{status['model']['version']} ({status['model']['reason']})"),
        ("today", f"{today['gpu_seconds'] / 3600:.2f} GPU hours, ${today['cost_usd']:.2f}{budget}"),
    ]
    if status["heartbeats_error"]:
        facts.append(("heartbeats", f"cannot be read: {status['heartbeats_error']}"))
    return facts


def _workers(status: Mapping[str, Any], role: str, argument: str) -> str:
    """Describe the workers of a role. The consumer group decides whether there are any; their heartbeats give the details."""
    group, count = status["groups"][role], len(status["groups"][role]["members"])
    heard = [worker for worker in status["workers"] if worker["role"] == role]
    gone = f"; {summarize(heard)}" if heard else ""
    if not count:
        return f"NONE: nobody reads {', '.join(group['lag'])}; start one: extents worker {argument}{gone}"
    rebalance = "" if group["state"] == "Stable" else f"; the group is in {group['state']}"
    living = sum(worker["state"] != WorkerState.GONE for worker in heard)
    if status["heartbeats_error"] is not None or not heard:
        return f"{count} in the group{rebalance}" + ("" if heard or status["heartbeats_error"] else ", without heartbeats")
    members = "" if living == count else f"; {count} in the group"
    return f"{summarize(heard)}{members}{rebalance}"


def _speed(workers: Sequence[Mapping[str, Any]]) -> str:
    """Describe the speed of all GPU workers together in the last minute."""
    living = [worker for worker in workers if worker["role"] == GPU_WORKER and worker["state"] != WorkerState.GONE]
    if not living:
        return ""
    pairs = sum(worker["pairs_per_second"] or 0.0 for worker in living)
    busy = sum(worker["busy_share"] or 0.0 for worker in living) / len(living)
    return f"; {pairs:.0f} pairs/s, {busy:.0%} busy, {sum(worker['in_hand'] for worker in living)} spans in hand"


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
