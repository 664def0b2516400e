"""``extents find``: a film in, its subtitles out, on this machine alone."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from cli.film.film_run import PREVIEW_PICTURES, FilmRun, Wanted, run_film
from cli.film.forms import FORMS, Doubtful, output_path, written
from cli.film.found_table import print_found
from cli.film.local_run import Model, choose_model, engine_options
from cli.film.sheet import draw_sheet, png
from cli.shared.output import progress, remark
from core.errors import ExtentsError, PermanentError
from core.files import make_parent, write_whole
from core.settings import Settings
from core.types import FRAMES_PER_SECOND, Anchor
from inference.engine.predictor import EngineOptions
from inference.finding.words import add_transcript, read_transcript
from inference.finding.zone import CROP_FORMS, Crop, parse_crop
from inference.reading.reader import DEFAULT, Reader, open_reader


class CropsParameter(click.ParamType):
    """One of the forms that ``parse_crop`` knows."""

    name = "CROP"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Crop:
        try:
            return parse_crop(str(value))
        except PermanentError as error:
            self.fail(str(error), param, ctx)


@click.command(
    epilog="""\b
Examples:
  extents find film.mp4
  extents find film.mp4 --text -o film.srt
  extents find film.mp4 --crop bottom-third --crop top-fifth --json
  extents find film.mp4 --crop 0,600,1280,700 --doubtful mark --vtt
  extents find *.mp4 -o subtitles --srt --jobs 2
\b
Settings: EXTENTS_DEVICE, EXTENTS_PRECISION, EXTENTS_BATCH_SIZE, EXTENTS_COMPILE."""
)
@click.argument("videos", nargs=-1, required=True, metavar="VIDEO...", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--crop", "crops", multiple=True, type=CropsParameter(), metavar="BOX", help=f"Look here only: {CROP_FORMS}. May be repeated."
)
@click.option(
    "--anchor", type=click.Choice([anchor.value for anchor in Anchor]), help="The side at which captions are aligned.  [default: found]"
)
@click.option("--srt", is_flag=True, help="Write SubRip subtitles.")
@click.option("--vtt", is_flag=True, help="Write WebVTT subtitles.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE|DIR",
    help="Write to this file, whose ending chooses the form, or folder.",
)
@click.option(
    "--doubtful",
    type=click.Choice([choice.value for choice in Doubtful]),
    default=Doubtful.OMIT.value,
    show_default=True,
    help="What subtitles do with captions that may be none.",
)
@click.option("--text", is_flag=False, flag_value="", metavar="[LANG]", help="Read the captions, too (extra `text`).")
@click.option("--reader", default=DEFAULT, show_default=True, metavar="NAME", help="What reads them: an entry point of extents.readers.")
@click.option(
    "--transcript", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Take the words from this file, a line a caption."
)
@click.option(
    "--stills", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Write a PNG of each caption into this folder."
)
@click.option("--preview", type=click.Path(dir_okay=False, path_type=Path), metavar="PNG", help="Draw where captions are looked for.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="Films at a time.")
def command(
    videos: tuple[Path, ...],
    crops: tuple[Crop, ...],
    anchor: str | None,
    srt: bool,
    vtt: bool,
    as_json: bool,
    output: Path | None,
    doubtful: str,
    text: str | None,
    reader: str,
    transcript: Path | None,
    stills: Path | None,
    preview: Path | None,
    jobs: int,
) -> None:
    """Print when each burnt-in caption of VIDEO begins and ends.

    Finds by itself where captions are, unless --crop says so, and compares the strip there ten times a second; the times
    are those of the film's own pictures. Without --text or --transcript, subtitles carry "Caption 1", "Caption 2", … for
    their words. Leaves no files behind but those that were asked for.
    """
    form = _form(srt=srt, vtt=vtt, as_json=as_json, output=output, several=len(videos) > 1)
    if len(videos) > 1 and (transcript or preview):
        raise click.UsageError("--transcript and --preview go with one film")
    if text is not None and transcript is not None:
        raise click.UsageError("--text reads the words and --transcript brings them: give one of them")
    is_folder = output is not None and (len(videos) > 1 or output.is_dir())
    if output is not None:
        make_parent(output / "any" if is_folder else output)
    settings = Settings()
    options = engine_options(settings.worker, settings.admission.precision, None)
    model = choose_model(settings)
    wanted = Wanted(crops, Anchor(anchor) if anchor else None, PREVIEW_PICTURES if preview else 0)

    def work(video: Path) -> FilmRun:
        opened: Reader | None = open_reader(text or None, reader) if text is not None else None
        return _run(video, wanted, model, options, opened, transcript, stills, preview)

    failed = 0
    with ThreadPoolExecutor(min(jobs, len(videos)), thread_name_prefix="film") as pool:
        for video, run in zip(videos, [pool.submit(work, video) for video in videos], strict=True):
            try:
                result = run.result()
            except ExtentsError as error:
                if len(videos) == 1:
                    raise
                failed += 1
                remark(f"error: {error}")
                continue
            _write(
                result,
                form,
                Doubtful(doubtful),
                model.version,
                output_path(output, video, form or "", is_folder=is_folder) if output else None,
            )
    if failed:
        raise PermanentError(f"{failed} of {len(videos)} films could not be read")


def _form(*, srt: bool, vtt: bool, as_json: bool, output: Path | None, several: bool) -> str | None:
    chosen = [name for name, flag in (("srt", srt), ("vtt", vtt), ("json", as_json)) if flag]
    if len(chosen) > 1:
        raise click.UsageError(f"--{chosen[0]} and --{chosen[1]} exclude each other: one form a call")
    if chosen:
        return chosen[0]
    if output is None:
        return None
    form = output.suffix.removeprefix(".").lower()
    if form in FORMS and not several and not output.is_dir():
        return form
    if several or output.is_dir():
        return "srt"
    raise click.UsageError(f"the ending of {output} does not say in which form to write it: add --srt, --vtt or --json")


def _run(
    video: Path,
    wanted: Wanted,
    model: Model,
    options: EngineOptions,
    reader: Reader | None,
    transcript: Path | None,
    stills: Path | None,
    preview: Path | None,
) -> FilmRun:
    with progress(video.name, "samples") as report:
        run = run_film(video, wanted, model, options, report, reader, stills=stills is not None)
    if transcript is not None:
        lines = read_transcript(transcript.read_text(encoding="utf-8-sig"))
        run.captions[:] = add_transcript(run.captions, lines)
    if stills is not None:
        _write_stills(run, stills)
    if preview is not None and run.sight is not None and run.sight.samples:
        write_whole(preview, draw_sheet(run.sight.samples, run.zones))
        remark(f"preview written to {preview}")
    return run


def _write_stills(run: FilmRun, folder: Path) -> None:
    count = 0
    for number, caption in enumerate(run.captions, start=1):
        inside = [
            still
            for still in run.stills.get(caption.zone, [])
            if still.first_frame <= caption.extent.last_frame and still.last_frame >= caption.extent.first_frame
        ]
        if inside:
            longest = max(inside, key=lambda still: still.last_frame - still.first_frame)
            write_whole(folder / f"{run.path.stem}-{number:04}.png", png(longest.picture))
            count += 1
    remark(f"{count} stills written to {folder}")


def _write(run: FilmRun, form: str | None, doubtful: Doubtful, model_version: str, output: Path | None) -> None:
    doubts = sum(caption.doubt is not None for caption in run.captions)
    summary = f"{len(run.captions) - doubts} captions" + (f" and {doubts} doubtful" if doubts else "")
    if form is None:
        if run.captions:
            print_found(run.captions, zones=len(run.zones) > 1)
        remark(f"{summary} in {run.frame_count / FRAMES_PER_SECOND:.1f} s of film")
        return
    content = written(run, form, doubtful, model_version)
    if output is None:
        click.echo(content, nl=False)
    else:
        write_whole(output, content.encode())
        remark(f"{summary} written to {output}")
