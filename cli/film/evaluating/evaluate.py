"""``extents evaluate``: precision and recall of checkpoints on a video whose captions are known."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from cli.film.engine import Engine, Model, choose_model
from cli.film.evaluating.subject import open_video
from cli.film.evaluating.truth import Truth, read_truth
from cli.film.finding.crop_parameter import CropFormsParameter
from cli.film.local_video import LocalVideo
from cli.film.runs.local_run import run_locally
from cli.shared.output import print_heading, print_json, print_table, progress, remark
from cli.shared.parameters import json_option
from core.accuracy import TOLERANCE_FRAMES, Accuracy, Extent, match_captions, measure
from core.captions import find_captions
from core.film_time import clock
from core.settings import Settings
from core.types import FRAMES_PER_SECOND, MODEL_VERSION, Anchor
from inference.finding.zone import CROP_FORMS, Crop

BUILTIN: Final = "builtin"
PLACES_SHOWN: Final = 10
Command = TypeVar("Command", bound=Callable[..., Any])

SHARES: Final = ("caption_precision", "caption_recall", "boundary_precision", "boundary_recall")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One checkpoint's scores on the video."""

    checkpoint: str
    model: Model
    accuracy: Accuracy
    missed: list[Extent]
    wrong: list[Extent]
    pairs_per_second: float

    def share(self, name: str) -> float:
        share: float = getattr(self.accuracy, name)
        return share


def _threshold_options(command: Command) -> Command:
    for share in reversed(SHARES):
        what = share.replace("_", " ")
        command = click.option(
            f"--min-{share.replace('_', '-')}",
            type=click.FloatRange(0, 1),
            metavar="SHARE",
            help=f"Exit status 1 if a checkpoint's {what} is lower.",
        )(command)
    return command


@click.command(
    epilog="""\b
Examples:
  extents evaluate film.mp4 --truth film.srt
  extents evaluate film.mp4 --crop bottom-third --truth film.srt --checkpoint old.pt --checkpoint new.pt
  extents evaluate folder --truth known.json --checkpoint builtin --checkpoint mrn0fkfd --json
  extents evaluate folder --truth film.vtt --checkpoint new.pt --min-boundary-recall 0.98
\b
Exit status 1 when a checkpoint is below a --min-… option.
\b
Settings: EXTENTS_DEVICE, EXTENTS_PRECISION, EXTENTS_BATCH_SIZE, EXTENTS_COMPILE; WASABI_* for a model from the store."""
)
@click.argument("video", metavar="FOLDER|FILM", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--truth",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    metavar="FILE",
    help="The known captions: SubRip, WebVTT, or JSON as extents find prints it.",
)
@click.option(
    "--checkpoint",
    "checkpoints",
    multiple=True,
    metavar="FILE|V",
    help=f"Weights file, {BUILTIN}, or the version of a model in the store. May be repeated.  [default: {BUILTIN}]",
)
@click.option("--crop", type=CropFormsParameter(), metavar="BOX", help=f"Where a film's captions are: {CROP_FORMS}.  [default: detected]")
@click.option(
    "--anchor", type=click.Choice([anchor.value for anchor in Anchor]), help="How a film's captions are aligned.  [default: detected]"
)
@click.option(
    "--tolerance",
    type=click.IntRange(min=0),
    default=TOLERANCE_FRAMES,
    show_default=True,
    metavar="N",
    help="Frames (of a tenth of a second) by which a time may differ.",
)
@_threshold_options
@json_option
def command(
    video: Path,
    truth: Path,
    checkpoints: tuple[str, ...],
    crop: Crop | None,
    anchor: str | None,
    tolerance: int,
    as_json: bool,
    **thresholds: float | None,
) -> None:
    """Measure checkpoints on a video whose captions are known: precision and recall of captions and of their boundaries.

    A FOLDER holds chunks as "extents encode --out" writes them. A FILM is encoded in memory first, so that its strips are
    what the service would see. A caption counts as found when both its ends are within the tolerance; two captions that
    touch share one boundary. The built-in model's own evaluation counts in the same way.
    """
    if video.is_dir() and (crop or anchor):
        raise click.UsageError("--crop and --anchor go with a film; a folder has its strips already")
    known = read_truth(truth)
    for text in known.remarks:
        remark(f"{truth}: {text}")
    settings = Settings()
    engine = Engine(settings.worker, settings.admission.precision)
    models = [(name, _model(settings, name)) for name in checkpoints or (BUILTIN,)]
    subject = open_video(video, crop, Anchor(anchor) if anchor else None, engine.load(choose_model(settings)))
    evaluations = [_evaluate(name, model, subject, known, engine, tolerance) for name, model in models]
    if as_json:
        print_json(_as_json(video, subject, tolerance, evaluations))
    else:
        _print(evaluations)
    failures = [text for evaluation in evaluations for text in _below(evaluation, thresholds)]
    for text in failures:
        remark(text)
    if failures:
        raise click.exceptions.Exit(1)


def _model(settings: Settings, name: str) -> Model:
    if name == BUILTIN:
        return choose_model(settings)
    path = Path(name)
    if path.is_file():
        return choose_model(settings, path)
    if path.name != name or path.suffix in (".pt", ".safetensors") or MODEL_VERSION.fullmatch(name) is None:
        raise click.BadParameter(f"{name}: no such file", param_hint="--checkpoint")
    return choose_model(settings, model_version=name)


def _evaluate(name: str, model: Model, video: LocalVideo, known: Truth, engine: Engine, tolerance: int) -> Evaluation:
    with progress(name, "pairs") as report:
        run = run_locally(video, model, engine, report)
    true = known.extents(video.frame_count)
    predicted = [(caption.first_frame, caption.last_frame) for caption in find_captions(run.probabilities).captions]
    matched = match_captions(true, predicted, tolerance)
    return Evaluation(
        name,
        model,
        measure(true, predicted, video.frame_count, tolerance),
        sorted(set(true) - {pair[0] for pair in matched}),
        sorted(set(predicted) - {pair[1] for pair in matched}),
        run.pairs / run.gpu_seconds,
    )


def _below(evaluation: Evaluation, thresholds: dict[str, float | None]) -> list[str]:
    return [
        f"{evaluation.checkpoint}: {name.replace('_', ' ')} is {evaluation.share(name):.4f}, below {least}"
        for name in SHARES
        if (least := thresholds[f"min_{name}"]) is not None and evaluation.share(name) < least
    ]


def _print(evaluations: Sequence[Evaluation]) -> None:
    """Print a column for each checkpoint."""
    rows: list[tuple[str, ...]] = [
        (name.replace("_", " "), *(f"{evaluation.share(name):.2%}" for evaluation in evaluations)) for name in SHARES
    ]
    counts = [evaluation.accuracy for evaluation in evaluations]
    rows += [
        ("captions found", *(f"{count.captions_matched} of {count.captions_true}" for count in counts)),
        ("captions exact", *(str(count.captions_exact) for count in counts)),
        ("captions wrong", *(str(len(evaluation.wrong)) for evaluation in evaluations)),
        ("boundaries found", *(f"{count.boundaries_matched} of {count.boundaries_true}" for count in counts)),
        ("boundaries wrong", *(str(count.boundaries_predicted - count.boundaries_matched) for count in counts)),
        ("model", *(evaluation.model.version for evaluation in evaluations)),
        ("pairs a second", *(f"{evaluation.pairs_per_second:.0f}" for evaluation in evaluations)),
    ]
    names = [evaluation.checkpoint for evaluation in evaluations]
    print_table(("", *names), rows, right=names)
    for evaluation in evaluations:
        places = sorted([(extent, "missed") for extent in evaluation.missed] + [(extent, "wrong") for extent in evaluation.wrong])
        if places:
            print_heading(f"{evaluation.checkpoint}: missed and wrong captions")
            print_table(("", "start", "end"), [(what, *_times(extent)) for extent, what in places[:PLACES_SHOWN]])
            if len(places) > PLACES_SHOWN:
                remark(f"and {len(places) - PLACES_SHOWN} more: --json has all")


def _times(extent: Extent) -> tuple[str, str]:
    return clock(extent[0] / FRAMES_PER_SECOND), clock((extent[1] + 1) / FRAMES_PER_SECOND)


def _as_json(video: Path, subject: LocalVideo, tolerance: int, evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    return {
        "video": str(video),
        "frames": subject.frame_count,
        "tolerance_frames": tolerance,
        "checkpoints": [
            {
                "checkpoint": evaluation.checkpoint,
                "model_version": evaluation.model.version,
                "checkpoint_sha256": evaluation.model.sha256,
                **{name: evaluation.share(name) for name in SHARES},
                **asdict(evaluation.accuracy),
                "missed": evaluation.missed,
                "wrong": evaluation.wrong,
                "pairs_per_second": round(evaluation.pairs_per_second, 1),
            }
            for evaluation in evaluations
        ],
    }
