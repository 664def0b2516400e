"""``extents predict``: runs inference on a local folder."""

from pathlib import Path

import click

from cli.film.engine import Engine, choose_model
from cli.film.local_video import open_folder
from cli.film.runs.local_run import run_locally
from cli.shared.output import print_facts, print_json, program, progress
from cli.shared.parameters import json_option
from core.captions import find_captions
from core.files import make_parent, write_whole
from core.runs import FinishedRun
from core.settings import Settings
from core.types import MODEL_VERSION, Precision
from storage.run_db import build_run_db


@click.command(
    epilog="""\b
Examples:
  extents predict film -o run.db
  extents predict film --checkpoint weights.pt --model-version mrn0fkfd --precision bfloat16
  extents predict film --version 2 --json
\b
Settings: EXTENTS_DEVICE, EXTENTS_PRECISION, EXTENTS_BATCH_SIZE, EXTENTS_COMPILE; WASABI_* for a model from the store."""
)
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="RUN.DB",
    help="The run database to write.  [default: FOLDER/caption_frame_extents/…]",
)
@click.option(
    "--checkpoint",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Weights file to use instead of the built-in model.",
)
@click.option(
    "--model-version",
    metavar="V",
    help="Model to use, from the store if it is not the built-in one; with --checkpoint, the version to record for it.",
)
@click.option("--version", type=click.IntRange(min=1), metavar="N", help="Version of the cropped frames.  [default: the newest]")
@click.option(
    "--precision",
    type=click.Choice([precision.value for precision in Precision]),
    help="Arithmetic precision.  [default: EXTENTS_PRECISION, float32]",
)
@click.option("--batch-size", type=click.IntRange(min=1), metavar="N", help="Pairs in one forward pass.  [default: EXTENTS_BATCH_SIZE, 32]")
@json_option
def command(
    folder: Path,
    output: Path | None,
    checkpoint: Path | None,
    model_version: str | None,
    version: int | None,
    precision: str | None,
    batch_size: int | None,
    as_json: bool,
) -> None:
    """Run inference on a FOLDER with layout.db and cropped_frames_v*/…, and write its run database.

    FOLDER was written by "extents encode --out", or is a copy of a video's folder in the store. Needs no broker, store or
    database server. Overwrites an existing run database.

    The built-in model runs on ONNX Runtime. Other checkpoints, other precisions and GPUs need torch (make setup).
    """
    if model_version is not None and MODEL_VERSION.fullmatch(model_version) is None:
        raise click.UsageError(f"--model-version {model_version!r}: expected {MODEL_VERSION.pattern}")
    if not folder.is_dir():
        raise click.UsageError(
            f"{folder} is a file; predict takes a folder of encoded frames: use extents find for a film, or extents encode first"
        )
    if output is not None:
        make_parent(output)
    settings = Settings()
    engine = Engine(settings.worker, Precision(precision) if precision else settings.admission.precision, batch_size)
    video = open_folder(folder, version)
    model = choose_model(settings, checkpoint, model_version)
    with progress("predicting", "pairs") as report:
        run = run_locally(video, model, engine, report)
    track = find_captions(run.probabilities)
    path = output or _default_path(folder, run)
    write_whole(path, build_run_db(run, track))

    summary = {
        "run_db": str(path),
        "run_id": str(run.run_id),
        "model_version": run.model_version,
        "device": run.provenance["device"],
        "precision": run.provenance["precision"],
        "pairs": run.pairs,
        "captions": len(track.captions),
        "seconds": round(run.processing_time_seconds, 3),
        "pairs_per_second": round(run.pairs / run.processing_time_seconds, 1),
    }
    if as_json:
        print_json(summary)
        return
    print_facts(
        [
            ("captions", f"{len(track.captions)} in {run.pairs} pairs; quality issues: {len(track.issues)}"),
            ("model", f"{run.model_version}, {summary['precision']} on {summary['device']}"),
            ("took", f"{run.processing_time_seconds:.1f} s, {summary['pairs_per_second']:.0f} pairs/s"),
            ("run database", str(path)),
            ("see it", f"{program()} show {path}"),
        ]
    )


def _default_path(folder: Path, run: FinishedRun) -> Path:
    """The path that the run would have in the store, relative to the video's folder."""
    name = f"v{run.cropped_frames_version}_model-{run.model_version[:8]}_run-{run.run_id}.db"
    return folder / "caption_frame_extents" / name
