"""Compares the demo's results with the known captions of its film, and checks the run's database rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from cli.shared.output import print_table
from core.captions import CaptionExtent
from core.counts import counted
from core.film_time import clock
from core.types import FRAMES_PER_SECOND
from storage.database import TABLE_PREFIX
from storage.rows import Rows
from streams.kafka.client import ReceivedOutcome
from tools.sample_film import Sample


@dataclass(frozen=True, slots=True)
class Finding:
    """A true caption and the detected one that matches it. Either is None if the other has no match."""

    text: str
    truth: tuple[int, int] | None
    detected: tuple[int, int] | None

    @property
    def exact(self) -> bool:
        return self.truth == self.detected

    def as_json(self) -> dict[str, Any]:
        return {"text": self.text, "truth": self.truth, "found": self.detected, "exact": self.exact}


def compare(sample: Sample, captions: Sequence[CaptionExtent]) -> list[Finding]:
    """Match each true caption with the detected one that overlaps it most; the rest of either side stays unmatched."""
    left = [(caption.first_frame, caption.last_frame) for caption in captions]
    findings: list[Finding] = []
    for caption in sample.captions:
        truth = (caption.first_frame, caption.last_frame)
        best = max(left, key=lambda extent: _overlap(truth, extent), default=None)
        if best is not None and _overlap(truth, best) > 0:
            left.remove(best)
            findings.append(Finding(caption.text, truth, best))
        else:
            findings.append(Finding(caption.text, truth, None))
    findings += [Finding("", None, extent) for extent in left]
    return sorted(findings, key=lambda finding: finding.truth or finding.detected or (0, 0))


def print_comparison(findings: Sequence[Finding]) -> None:
    rows = [
        (_extent(finding.truth), _extent(finding.detected), _verdict(finding), finding.text.replace("\n", " / ")) for finding in findings
    ]
    print_table(("in the film", "found", "", "text"), rows, folded=("text",))


@dataclass(frozen=True, slots=True)
class Row:
    """A row that the run must have written: its content, or what is wrong with it."""

    table: str
    content: str
    good: bool


async def read_rows(rows: Rows, outcome: ReceivedOutcome) -> list[Row]:
    """Read the run's row and its job's row, and compare them with the event."""
    body = outcome.body
    run = await rows.find_run(UUID(body["tenant_id"]), UUID(body["video_id"]), body["cropped_frames_version"], body["model_version"])
    job = await rows.find_job(UUID(body["run_id"]))
    return [
        Row(
            f"{TABLE_PREFIX}runs",
            "missing" if run is None else f"run {run.run_id}, {run.total_pairs} pairs, SHA-256 {(run.sha256 or '')[:12]}…",
            run is not None and (run.run_id, run.sha256, run.total_pairs) == (body["run_id"], body["sha256"], body["pairs"]),
        ),
        Row(
            f"{TABLE_PREFIX}jobs",
            "missing" if job is None else f"{job.status}, {job.pairs_done}/{job.pairs_total} pairs, attempt {job.attempt}",
            job is not None and (job.status, job.pairs_total) == ("completed", body["pairs"]),
        ),
    ]


def _overlap(first: tuple[int, int], second: tuple[int, int]) -> int:
    return min(first[1], second[1]) - max(first[0], second[0]) + 1


def _extent(extent: tuple[int, int] | None) -> str:
    return "none" if extent is None else f"{clock(extent[0] / FRAMES_PER_SECOND)} - {clock((extent[1] + 1) / FRAMES_PER_SECOND)}"


def _verdict(finding: Finding) -> str:
    if finding.truth is None:
        return "spurious"
    if finding.detected is None:
        return "missed"
    off = max(abs(a - b) for a, b in zip(finding.truth, finding.detected, strict=True))
    return "exact" if off == 0 else f"{counted(off, 'frame')} off"
