"""``python -m training``: trains the built-in model, or evaluates a checkpoint."""

import json
import os
import time
from dataclasses import asdict
from pathlib import Path

import click
import torch
from safetensors.torch import save

from core.types import Precision
from inference.architectures.siamese_strip import NAME, SiameseStrip
from inference.engine.device import describe_device
from inference.engine.predictor import EngineOptions
from inference.models.builtin import builtin_checkpoint_path
from inference.models.loading import load_predictor
from training.data import make_training_set
from training.evaluate import CLIPS_PER_KIND, SEED, evaluate, make_test_clips
from training.fonts import install_fonts
from training.onnx_file import write_onnx
from training.pictures import install_pictures
from training.report import format_table, measure_speed, summarise, write_model_card
from training.synthetic.kinds import Kind
from training.train import SIZES, TrainingOptions, train

_DEFAULTS = TrainingOptions()
_WORK = Path(".stack") / "training"
_CARD = Path(__file__).parents[1] / "docs" / "model-card.md"

work_option = click.option(
    "--work", type=click.Path(path_type=Path), default=_WORK, show_default=True, help="Folder for fonts, clips and training states."
)
workers_option = click.option("--workers", default=os.cpu_count() or 1, show_default=True, help="Processes that make clips and train.")
test_seed_option = click.option(
    "--test-seed", default=SEED, show_default=True, help="Seed of the test clips. Select weights with another seed than the reported one."
)
clips_per_kind_option = click.option(
    "--clips-per-kind", default=CLIPS_PER_KIND, show_default=True, help="Test clips per kind, of 65 frames each."
)
kinds_option = click.option(
    "--kind", "kinds", type=click.Choice(Kind), multiple=True, default=tuple(Kind), help="Measure this kind only; may be repeated."
)


@click.group(invoke_without_command=True)
@click.pass_context
def main(context: click.Context) -> None:
    """Train the built-in model and evaluate it; without a command, do both."""
    if context.invoked_subcommand is None:
        context.invoke(train_command)


@main.command("fonts")
@work_option
def fonts_command(work: Path) -> None:
    """Install the fonts of the synthetic captions (npm packages, 770 MB)."""
    click.echo(install_fonts(work / "fonts"))


@main.command("pictures")
@work_option
def pictures_command(work: Path) -> None:
    """Install the photographs and shots behind the synthetic captions (packages of Debian, 190 MB)."""
    click.echo(install_pictures(work / "pictures"))


@main.command("train")
@work_option
@workers_option
@clips_per_kind_option
@test_seed_option
@click.option("--clips", default=24_000, show_default=True, help="Training clips, of 12 frames each; 0.6 MB of disk per clip.")
@click.option("--steps", default=_DEFAULTS.steps, show_default=True, help="Batches, of 28 clips each.")
@click.option("--peak-rate", default=_DEFAULTS.peak_rate, show_default=True, help="Highest learning rate of the schedule.")
@click.option(
    "--size", type=click.Choice(list(SIZES)), default="small", show_default=True, help="Of the network; large has twice the weights."
)
@click.option("--seed", default=1, show_default=True, help="Seed of the clips and of the training.")
@click.option(
    "--start-from", type=click.Path(path_type=Path, exists=True), help="Training state (state.pt) or weights (.safetensors) to start from."
)
@click.option(
    "--teacher", type=click.Path(path_type=Path, exists=True), help="Weights (.safetensors) whose answers to older kinds are learned, too."
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=builtin_checkpoint_path, help="Weights file; the package's by default."
)
def train_command(
    work: Path,
    workers: int,
    clips_per_kind: int,
    test_seed: int,
    clips: int,
    steps: int,
    peak_rate: float,
    size: str,
    seed: int,
    start_from: Path | None,
    teacher: Path | None,
    output: Path,
) -> None:
    """Make clips, train, write the weights, evaluate them, and write the results beside them."""
    began = time.monotonic()
    fonts = install_fonts(work / "fonts")
    folder = work / f"clips-{seed}"
    make_training_set(folder, fonts, install_pictures(work / "pictures"), clips, seed, workers, click.echo)
    options = TrainingOptions(steps=steps, processes=workers, peak_rate=peak_rate, seed=seed, size=SIZES[size])
    training_began = time.monotonic()
    network = train(folder, options, work / "state.pt", start_from, teacher)
    how = {
        **asdict(options),
        "start_from": None if start_from is None else start_from.name,
        "teacher": None if teacher is None else teacher.name,
        "clips": clips,
        "clip_seconds": round(training_began - began),
        "training_seconds": round(time.monotonic() - training_began),
        "torch": torch.__version__,
        "machine": describe_device("cpu"),
    }
    save_network(network, output)
    write_onnx(output, output.with_suffix(".onnx"))
    click.echo(f"{output}: {output.stat().st_size:,} bytes")
    _measure(output, work, workers, tuple(Kind), clips_per_kind, test_seed, Precision.FLOAT32, output.with_suffix(".json"), how)


@main.command("evaluate")
@work_option
@workers_option
@kinds_option
@clips_per_kind_option
@test_seed_option
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path, exists=True),
    default=builtin_checkpoint_path,
    help="Weights file; the package's by default.",
)
@click.option("--precision", type=click.Choice(Precision), default=Precision.FLOAT32, show_default=True, help="Arithmetic precision.")
@click.option("--figures", type=click.Path(path_type=Path), help="Also write the figures here, as JSON.")
def evaluate_command(
    work: Path,
    workers: int,
    kinds: tuple[Kind, ...],
    clips_per_kind: int,
    test_seed: int,
    checkpoint: Path,
    precision: Precision,
    figures: Path | None,
) -> None:
    """Evaluate a checkpoint on fonts and footage not used in training, and print a table."""
    _measure(checkpoint, work, workers, kinds, clips_per_kind, test_seed, precision, figures, None)


@main.command("card")
@click.option(
    "--figures",
    type=click.Path(path_type=Path, exists=True),
    default=lambda: builtin_checkpoint_path().with_suffix(".json"),
    help="JSON of an evaluation; that of the package's weights by default.",
)
def card_command(figures: Path) -> None:
    """Write the evaluation's tables into docs/model-card.md."""
    write_model_card(_CARD, json.loads(figures.read_text()))


@main.command("onnx")
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path, exists=True),
    default=builtin_checkpoint_path,
    help="Weights file; the package's by default.",
)
def onnx_command(checkpoint: Path) -> None:
    """Write a checkpoint's weights and network beside it as ONNX, which local commands run."""
    output = checkpoint.with_suffix(".onnx")
    write_onnx(checkpoint, output)
    click.echo(f"{output}: {output.stat().st_size:,} bytes")


def save_network(network: SiameseStrip, output: Path) -> None:
    """Save in half precision, to halve the package's size. The stored weights are the ones evaluated."""
    output.parent.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.half().contiguous() for name, tensor in network.state_dict().items()}
    output.write_bytes(save(state, {"architecture_name": NAME, "config": json.dumps(network.size.config())}))


def _measure(
    checkpoint: Path,
    work: Path,
    workers: int,
    kinds: tuple[Kind, ...],
    clips_per_kind: int,
    test_seed: int,
    precision: Precision,
    figures: Path | None,
    how: dict[str, object] | None,
) -> None:
    fonts = install_fonts(work / "fonts")
    clips = make_test_clips(fonts, kinds, clips_per_kind, workers, test_seed)
    predictor = load_predictor(checkpoint, EngineOptions(precision=precision))
    tallies = evaluate(predictor, clips)
    click.echo(format_table(tallies))
    if figures is not None:
        kept = json.loads(figures.read_text()) if figures.is_file() else {}
        summary = summarise(tallies, checkpoint, clips_per_kind, test_seed) | {"speed": measure_speed(checkpoint)}
        summary["training"] = how if how is not None else kept.get("training", {})
        figures.write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    main()
