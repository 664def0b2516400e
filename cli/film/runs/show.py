"""``extents show``: prints the contents of a run database."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from cli.film.runs.caption_table import captions_as_json, print_captions
from cli.shared.output import print_facts, print_heading, print_json, print_table
from cli.shared.parameters import json_option
from core.provenance import readable_provenance
from storage.run_db_reader import RunDatabase, read_run_file

_MISSING_SHOWN: Final = 20
_ISSUES_SHOWN: Final = 10
"""Per kind; --json prints all."""


@click.command(
    epilog="""\b
Examples:
  extents show run.db
  extents show run.db --json | jq '.captions[0]'"""
)
@click.argument("run_db", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
def command(run_db: Path, as_json: bool) -> None:
    """Print the contents of RUN_DB: the run, its labels, its captions and its quality issues.

    Also reads databases of the former service; their captions are computed from their predictions.
    """
    database = read_run_file(run_db)
    if as_json:
        print_json(_as_json(database))
    else:
        _print(database)


def _print(database: RunDatabase) -> None:
    print_facts(
        [
            ("run", f"{database.run_id}, attempt {database.attempt}"),
            *(
                (name, database.provenance[key])
                for name, key in (("video", "video_id"), ("tenant", "tenant_id"))
                if key in database.provenance
            ),
            ("cropped frames", f"version {database.cropped_frames_version or 'not recorded'}"),
            ("model", f"{database.model_version} ({database.model_checkpoint_path or 'no path recorded'})"),
            ("computed", f"{_utc(database.started_at):%Y-%m-%d %H:%M:%S} UTC, {_duration(database)} for {database.pairs} pairs"),
            *([("missing", _missing(database))] if database.missing_pairs else []),
        ]
    )
    rest = readable_provenance(database.provenance)
    if rest:
        print_heading("Provenance")
        print_facts(rest)
    print_heading("Labels")
    counts = database.label_counts
    total = sum(counts.values())
    print_table(("label", "pairs", "share"), [(label, str(n), f"{n / total:.1%}") for label, n in counts.items()], right=("pairs", "share"))
    print_heading(f"Captions ({len(database.track.captions)})")
    print_captions(database.track.captions)
    issues = database.track.issues
    if not issues:
        return
    by_kind = Counter(issue.kind for issue in issues)
    print_heading("Quality issues (" + ", ".join(f"{count} {kind}" for kind, count in by_kind.items()) + ")")
    shown = [issue for kind in by_kind for issue in [issue for issue in issues if issue.kind == kind][:_ISSUES_SHOWN]]
    print_table(
        ("kind", "frame", "detail"),
        [(issue.kind, str(issue.frame_index), issue.detail) for issue in shown],
        right=("frame",),
        folded=("detail",),
    )
    if len(shown) < len(issues):
        click.echo(f"… and {len(issues) - len(shown)} more: --json prints all")


def _duration(database: RunDatabase) -> str:
    return "duration not recorded" if database.processing_time_seconds is None else f"{database.processing_time_seconds:.1f} s"


def _missing(database: RunDatabase) -> str:
    """The pairs that the former service could not predict, by their first frames."""
    shown = ", ".join(map(str, database.missing_pairs[:_MISSING_SHOWN]))
    rest = len(database.missing_pairs) - _MISSING_SHOWN
    return f"{len(database.missing_pairs)} pairs, from frame {shown}" + (f" and {rest} more" if rest > 0 else "")


def _as_json(database: RunDatabase) -> dict[str, Any]:
    return {
        "run_id": database.run_id,
        "attempt": database.attempt,
        "cropped_frames_version": database.cropped_frames_version,
        "model_version": database.model_version,
        "model_checkpoint_path": database.model_checkpoint_path,
        "started_at": _utc(database.started_at),
        "completed_at": _utc(database.completed_at),
        "processing_time_seconds": database.processing_time_seconds,
        "pairs": database.pairs,
        "missing_pairs": list(database.missing_pairs),
        "provenance": dict(database.provenance),
        "label_counts": {str(label): count for label, count in database.label_counts.items()},
        "captions": captions_as_json(database.track.captions),
        "quality_issues": [
            {"kind": issue.kind, "frame_index": issue.frame_index, "detail": issue.detail} for issue in database.track.issues
        ],
    }


def _utc(moment: datetime) -> datetime:
    """The moment in UTC. A moment without a zone is UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
