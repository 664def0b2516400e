"""Carries out replays: sends their items within the limits, and compares a sample's results with the earlier ones.

A lease in the database says which coordinator carries out a replay, and the items say what was sent. If a coordinator is killed,
another one continues when the lease expires. If both send an item, it counts as one request.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from core.comparison import Comparison, compare
from core.errors import ExtentsError, TransientError
from core.logging import get_logger
from core.settings import AdmissionSettings
from core.types import Priority
from storage.objects import ObjectStore
from storage.publish import verify_stored_run
from storage.replays import Replays
from streams.policy.record_failures import ends_process
from streams.policy.replay_plan import REPLAY_HEADER, Compare, Complete, Pause, Send, next_step, request_of, within_budget
from streams.processing.app import ExtentsApp
from streams.publisher import Publisher
from streams.runtime.assignment import Assignment, AssignmentRevoked
from streams.runtime.circuit_breaker import CircuitBreaker
from streams.runtime.concurrently import concurrently

log = get_logger(__name__)

LOOK_EVERY_SECONDS: Final = 1.0
LEASE_SECONDS: Final = 15.0
"""Much longer than a round. When it expires, another coordinator continues."""

WORST_SHOWN: Final = 5


@dataclass(slots=True)
class ReplayRunner:
    app: ExtentsApp
    publisher: Publisher
    replays: Replays
    store: ObjectStore
    database_breaker: CircuitBreaker
    settings: AdmissionSettings
    owner: str = field(default_factory=lambda: uuid4().hex)

    async def run(self) -> None:
        """Look for replays once a second. Runs until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            try:
                await self._round(self.app.assignment)
            except AssignmentRevoked:
                continue
            except TransientError as error:
                log.info("replays.postponed", error=str(error))

    async def _round(self, assignment: Assignment) -> None:
        assignment.check()
        for replay in await self.database_breaker.call(assignment, lambda: self.replays.claim(self.owner, LEASE_SECONDS)):
            try:
                progress = await assignment.until_revoked(self.replays.replay_progress(replay["replay_id"]))
                await self._advance(replay, progress, assignment)
            except (AssignmentRevoked, TransientError):
                raise
            except Exception as error:
                if ends_process(error):
                    raise
                await self._failed(replay, error)

    async def _failed(self, replay: Mapping[str, Any], error: Exception) -> None:
        """Pause a replay that cannot continue. It must not end the process, neither now nor after each restart."""
        log.error("replay.failed", replay_id=replay["replay_id"], error=repr(error), exc_info=error)
        await self._change(replay, "paused", reason=f"it failed with {type(error).__name__}: {str(error)[:300]}; resume it to retry")

    async def _advance(self, replay: Mapping[str, Any], progress: Mapping[str, Any], assignment: Assignment) -> None:
        match next_step(replay, progress, datetime.now(UTC), self.settings.gpu_usd_per_hour):
            case Send(count, budget_usd):
                await self._send(replay, count, budget_usd, progress["undecided"] + progress["unfinished"], assignment)
            case Pause(reason):
                await self._change(replay, "paused", reason=reason)
            case Compare():
                await self._look_at_sample(replay, assignment)
            case Complete():
                await self._change(replay, "completed", completed_at=datetime.now(UTC).isoformat())

    async def _send(self, replay: Mapping[str, Any], count: int, budget_usd: float | None, in_flight: int, assignment: Assignment) -> None:
        waiting = await assignment.until_revoked(self.replays.waiting_items(replay["replay_id"], count))
        items = within_budget(waiting, budget_usd)
        if waiting and not items and not in_flight:
            reason = f"the next request would exceed the limit of ${replay['max_cost_usd']:.2f}; resume with another --max-cost"
            await self._change(replay, "paused", reason=reason)
        if not items:
            return
        priority = Priority(replay["priority"])
        await concurrently(
            self.publisher.send_request(assignment, priority, request_of(item, replay), {REPLAY_HEADER: replay["replay_id"].encode()})
            for item in items
        )
        await assignment.until_revoked(self.replays.mark_sent(replay["replay_id"], [item["number"] for item in items]))
        log.info("replay.sent", replay_id=replay["replay_id"], requests=len(items))

    async def _look_at_sample(self, replay: Mapping[str, Any], assignment: Assignment) -> None:
        """Compare each run of the sample with the one before it, and continue only if little has changed."""
        outcomes = await assignment.until_revoked(self.replays.replay_outcomes(replay["replay_id"], 0, replay["sample_size"]))
        compared: list[tuple[Mapping[str, Any], Comparison]] = []
        for item in outcomes:
            comparison = await assignment.until_revoked(self._compare(item))
            if comparison is not None:
                compared.append((item, comparison))
        sample = summarize(outcomes, compared)
        if not compared:
            reason = f"none of the {len(outcomes)} videos in the sample has two runs to compare; resume to continue without a comparison"
            await self._change(replay, "paused", reason=reason, sample=sample)
        elif sample["change"] > replay["max_change"]:
            reason = (
                f"{sample['change']:.1%} of {sample['captions']} captions changed in the sample, more than {replay['max_change']:.1%}; "
                f"most in video {sample['worst'][0]['video_id']}: extents replay status {replay['replay_id']}"
            )
            await self._change(replay, "paused", reason=reason, sample=sample)
        else:
            await self._change(replay, "running", sample=sample)

    async def _compare(self, item: Mapping[str, Any]) -> Comparison | None:
        """Compare a video's runs; None if one is missing, or if they are of different frames."""
        before, after = item["baseline_key"], item["run_key"]
        if before is None or after is None or before == after:
            return None
        try:
            runs = [await verify_stored_run(self.store, key, None) for key in (before, after)]
        except TransientError:
            raise
        except ExtentsError as error:
            log.warning("replay.not_compared", video_id=item["video_id"], error=str(error))
            return None
        if runs[0] is None or runs[1] is None or runs[0].pairs != runs[1].pairs:
            return None
        return await asyncio.to_thread(compare, runs[0].track, runs[1].track)

    async def _change(self, replay: Mapping[str, Any], state: str, **values: Any) -> None:
        """Set a replay's state, unless it has changed since it was read: somebody may have paused or cancelled the replay."""
        if await self.replays.change(replay["replay_id"], [replay["state"]], state, **values):
            log.info("replay.changed", replay_id=replay["replay_id"], state=state, reason=values.get("reason"))


def summarize(outcomes: Sequence[Mapping[str, Any]], compared: Sequence[tuple[Mapping[str, Any], Comparison]]) -> dict[str, Any]:
    """The summary of a sample, which is stored and shown by ``extents replay status``."""
    captions = sum(comparison.captions for _, comparison in compared)
    worst = sorted(compared, key=lambda pair: -pair[1].change)[:WORST_SHOWN]
    return {
        "videos": len(outcomes),
        "compared": len(compared),
        "captions": captions,
        "change": sum(comparison.changed for _, comparison in compared) / captions if captions else 0.0,
        "worst": [
            {
                "video_id": item["video_id"],
                "change": comparison.change,
                "moved": len(comparison.moved),
                "added": len(comparison.added),
                "lost": len(comparison.lost),
                "before": item["baseline_run_id"],
                "after": item["run_id"],
            }
            for item, comparison in worst
        ],
    }
