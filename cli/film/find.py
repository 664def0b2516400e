"""``extents find``: the captions' times of one film, on this machine alone."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import click

from cli.film.caption_table import captions_as_json, print_captions
from cli.film.local_run import choose_model, engine_options, run_locally
from cli.film.local_video import open_memory
from cli.film.subtitles import to_srt, to_vtt
from cli.shared.output import json_text, progress, remark
from cli.shared.parameters import anchor_option, crop_option
from core.captions import CaptionExtent, find_captions
from core.files import make_parent, write_whole
from core.settings import Settings
from core.types import FRAMES_PER_SECOND, Anchor
from inference.media.encode import CropBox, encode_film

_SUBTITLES: Final[Mapping[str, Callable[[Sequence[CaptionExtent]], str]]] = {"srt": to_srt, "vtt": to_vtt}


class _Memory(dict[str, bytes]):
    """Chunks by name; a film of an hour takes some 50 to 100 MB. No file is left wherever the command is stopped."""

    def write(self, name: str, content: bytes) -> None:
        self[name] = content


@click.command(
    epilog="""\b
Examples:
  extents find film.mp4 --crop 0,600,1280,700
  extents find film.mp4 --crop 0,600,1280,700 --anchor left --srt > film.srt
  extents find film.mp4 --crop 0,600,1280,700 -o film.vtt
\b
Settings: EXTENTS_DEVICE, EXTENTS_PRECISION, EXTENTS_BATCH_SIZE, EXTENTS_COMPILE."""
)
@click.argument("video", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@crop_option
@anchor_option
@click.option("--srt", "form", flag_value="srt", help="Print SubRip subtitles.")
@click.option("--vtt", "form", flag_value="vtt", help="Print WebVTT subtitles.")
@click.option("--json", "form", flag_value="json", help="Print JSON.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write to this file; .srt, .vtt and .json choose the form.",
)
def command(video: Path, crop: tuple[int, int, int, int], anchor: str, form: str | None, output: Path | None) -> None:
    """Print when each burnt-in caption of VIDEO begins and ends.

    Looks at the strip inside --crop ten times a second. It finds when captions change, not what they say: subtitles
    carry "Caption 1", "Caption 2", … for their text. Leaves no files behind.
    """
    if output is not None and form is None:
        form = output.suffix.removeprefix(".").lower()
        if form not in (*_SUBTITLES, "json"):
            raise click.UsageError(f"the ending of {output} does not say in which form to write it: add --srt, --vtt or --json")
    if output is not None:
        make_parent(output)
    settings = Settings()
    options = engine_options(settings.worker, settings.admission.precision, None)
    model = choose_model(settings)
    chunks = _Memory()
    with progress("encoding", "frames") as report:
        encoded = encode_film(video, CropBox(*crop), Anchor(anchor), chunks, report)
    with progress("predicting", "pairs") as report:
        run = run_locally(open_memory(encoded.layout, encoded.frame_count, chunks), model, options, report)
    captions = find_captions(run.probabilities).captions

    if form is None:
        print_captions(captions)
        remark(f"{len(captions)} captions in {encoded.frame_count / FRAMES_PER_SECOND:.1f} s of film")
        return
    if form == "json":
        text = json_text(
            {
                "video": str(video),
                "crop": crop,
                "frames": encoded.frame_count,
                "model_version": run.model_version,
                "captions": captions_as_json(captions),
            }
        )
    else:
        text = _SUBTITLES[form](captions)
    if output is None:
        click.echo(text, nl=False)
    else:
        write_whole(output, text.encode())
        remark(f"{len(captions)} captions written to {output}")
