"""``extents quote``: estimates the cost of a video before it is sent."""

from uuid import UUID

import click

from cli.shared.filters import with_listings
from cli.shared.listing import duration
from cli.shared.output import print_facts, print_json
from cli.shared.parameters import json_option
from core.errors import ExtentsError
from core.identity import parse_uuid
from core.settings import Settings
from core.types import FRAMES_PER_SECOND
from storage.listings import Filter, Listings
from streams.policy.requests import check_limits, estimated_cost_usd


@click.command(
    epilog="""\b
Examples:
  extents quote 36000
  extents quote 3f2b8c1e-0d4a-4c57-9a61-7b1f0c2d9e55 --json
\b
Settings: EXTENTS_GPU_USD_PER_HOUR, EXTENTS_EXPECTED_PAIRS_PER_SECOND, EXTENTS_MAX_COST_USD, EXTENTS_MAX_FRAME_COUNT;
SUPABASE_* for a video."""
)
@click.argument("what", metavar="FRAMES|VIDEO")
@json_option
def command(what: str, as_json: bool) -> None:
    """Estimate the GPU time and cost of a number of frames, or of a video that the service has seen.

    Admission decides by the same estimate.
    """
    admission = Settings().admission
    frames = int(what) if what.isdigit() else _frames_of(what)
    cost = estimated_cost_usd(frames, admission)
    pairs = max(0, frames - 1)
    seconds = pairs / admission.expected_pairs_per_second
    rejection = check_limits(frames, cost, admission)
    if as_json:
        estimate = {
            "frames": frames,
            "pairs": pairs,
            "gpu_seconds": seconds,
            "estimated_cost_usd": cost,
            "limit_usd": admission.max_cost_usd,
        }
        print_json({**estimate, "rejection": rejection and {"type": rejection.type, "message": rejection.message}})
        return
    verdict = (
        f"would be rejected: {rejection.message}"
        if rejection
        else f"${admission.max_cost_usd:.2f} (EXTENTS_MAX_COST_USD): would be accepted"
    )
    print_facts(
        [
            ("frames", f"{frames}, a film of {duration(frames / FRAMES_PER_SECOND)}"),
            ("GPU", f"{duration(seconds)} at {admission.expected_pairs_per_second:g} pairs/s"),
            ("cost", f"${cost:.4f} at ${admission.gpu_usd_per_hour:g} an hour"),
            ("limit", verdict),
        ]
    )


def _frames_of(text: str) -> int:
    try:
        video = parse_uuid(text)
    except ValueError:
        raise click.UsageError(f"{text!r} is neither a number of frames nor a video's id") from None
    pairs = with_listings(lambda listings: _newest_pairs(listings, video))
    if pairs is None:
        raise ExtentsError(f"the service has not seen video {video}; give the number of its frames")
    return pairs + 1


async def _newest_pairs(listings: Listings, video: UUID) -> int | None:
    async for row in listings.jobs(Filter(video_id=video)):
        if row["pairs_total"] is not None:
            return int(row["pairs_total"])
    async for row in listings.run_history(Filter(video_id=video), 1):
        return int(row["total_pairs"])
    return None
