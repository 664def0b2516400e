"""``extents find``: a film in, its subtitles out, on this machine."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue

import click

from cli.film.engine import Engine, choose_model
from cli.film.finding.crop_parameter import CropFormsParameter
from cli.film.finding.film_run import PREVIEW_PICTURES, FilmRun, Tools, Wanted, run_film
from cli.film.finding.find_films import Check, run_films
from cli.film.finding.forms import SUBTITLES, Doubtful
from cli.film.finding.language_option import OPTION, CommandWithLanguage
from cli.film.finding.outputs import Output, OutputParameter, choose_form, distinct, plan_outputs
from cli.film.finding.results import Results
from cli.film.finding.sheet import write_sheet
from cli.film.finding.still_file import StillFile
from cli.shared.output import progress, remark
from cli.shared.parameters import PictureParameter
from cli.shared.pictures import FORMATS
from core.errors import ExtentsError, PermanentError
from core.files import make_parent, write_whole
from core.settings import Settings
from core.types import Anchor
from inference.finding.words import add_transcript, read_transcript
from inference.finding.zone import CROP_FORMS, Crop
from inference.reading.rapid import READABLE
from inference.reading.reader import DEFAULT, open_reader


@click.command(
    cls=CommandWithLanguage,
    epilog="""\b
Examples:
  extents find film.mp4
  extents find film.mp4 --text -o film.srt
  extents find film.mp4 --crop bottom-third --crop top-fifth --json
  extents find film.mp4 --crop 0,600,1280,700 --doubtful mark --vtt
  extents find *.mp4 -o subtitles --srt --jobs 2
\b
Settings: EXTENTS_DEVICE, EXTENTS_PRECISION, EXTENTS_BATCH_SIZE, EXTENTS_COMPILE.""",
)
@click.argument("videos", nargs=-1, required=True, metavar="VIDEO...", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--crop", "crops", multiple=True, type=CropFormsParameter(), metavar="BOX", help=f"Look only here: {CROP_FORMS}. May be repeated."
)
@click.option("--anchor", type=click.Choice([anchor.value for anchor in Anchor]), help="How captions are aligned.  [default: detected]")
@click.option("--srt", is_flag=True, help="Write SubRip subtitles.")
@click.option("--vtt", is_flag=True, help="Write WebVTT subtitles.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON; of several films, an array unless -o names a folder.")
@click.option(
    "-o",
    "--output",
    type=OutputParameter(),
    help="Write to this file, whose extension chooses the format, or into this folder; a new folder's name ends with a slash.",
)
@click.option(
    "--doubtful",
    type=click.Choice([choice.value for choice in Doubtful]),
    help=f"Leave doubtful captions out of subtitles, mark them, or keep them unmarked.  [default: {Doubtful.OMIT}]",
)
@click.option(
    OPTION,
    is_flag=False,
    flag_value="",
    metavar="[LANG]",
    help=f"Also read the words: {READABLE}. LANG is optional. Needs make setup-film EXTRAS=text.",
)
@click.option("--reader", metavar="NAME", help=f"Reader of --text: an entry point of the group extents.readers.  [default: {DEFAULT}]")
@click.option(
    "--transcript",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Take the words from this file, one line per caption.",
)
@click.option(
    "--stills", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Write a PNG of each caption into this folder."
)
@click.option(
    "--preview",
    type=PictureParameter(*FORMATS),
    metavar="FILE",
    help="Also draw the zones on pictures of the film, in this file (PNG or JPEG).",
)
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="Films to process at a time.")
def command(
    videos: tuple[Path, ...],
    crops: tuple[Crop, ...],
    anchor: str | None,
    srt: bool,
    vtt: bool,
    as_json: bool,
    output: Output | None,
    doubtful: str | None,
    text: str | None,
    reader: str | None,
    transcript: Path | None,
    stills: Path | None,
    preview: Path | None,
    jobs: int,
) -> None:
    """Print when each burnt-in caption of VIDEO begins and ends.

    Finds where captions are, unless --crop says where, and compares that strip ten times a second; the times are those of
    the film's own pictures. Without --text or --transcript, subtitles say "Caption 1", "Caption 2", … instead of words;
    with them, "[unread]" for a caption without words. Writes no files except those that you ask for.
    """
    videos = distinct(videos)
    form = choose_form([name for name, flag in (("srt", srt), ("vtt", vtt), ("json", as_json)) if flag], output, len(videos))
    if len(videos) > 1 and (transcript or preview):
        raise click.UsageError("--transcript and --preview work with a single film only")
    if text is not None and transcript is not None:
        raise click.UsageError("--text and --transcript both provide the words: give only one of them")
    if reader is not None and text is None:
        raise click.UsageError(f"--reader {reader} chooses how --text reads the captions: add --text")
    if doubtful is not None and form not in SUBTITLES:
        raise click.UsageError(
            "--doubtful is about subtitles, and tables and JSON always say which captions are doubtful: add --srt or --vtt"
        )
    outputs = plan_outputs(videos, output, form, stills)
    for path in (*outputs.values(), *([stills / "any"] if stills else []), *([preview] if preview else [])):
        make_parent(path)
    lines = None if transcript is None else _read_lines(transcript)
    settings = Settings()
    engine = Engine(settings.worker, settings.admission.precision)
    model = choose_model(settings)
    wanted = Wanted(crops, Anchor(anchor) if anchor else None, PREVIEW_PICTURES if preview else 0)
    jobs = min(jobs, len(videos))
    idle: SimpleQueue[Tools] = SimpleQueue()
    for _ in range(jobs):
        read = open_reader(text or None, reader or DEFAULT) if text is not None else None
        idle.put(Tools(engine.load(model), read))

    def work(video: Path, check: Check) -> FilmRun:
        tools = idle.get()
        try:
            return _run(video, wanted, tools, check, stills, plain_progress=jobs > 1)
        finally:
            idle.put(tools)

    results = Results(form, Doubtful(doubtful or Doubtful.OMIT), model.version, outputs, several=len(videos) > 1, is_crop_given=bool(crops))
    failed = 0
    with results.opened() as give, closing(run_films(videos, work, jobs)) as runs:
        for _, result in runs:
            if isinstance(result, ExtentsError):
                if len(videos) == 1:
                    raise result
                failed += 1
                remark(f"error: {result}")
                continue
            run = result if lines is None else replace(result, captions=add_transcript(result.captions, lines), has_words=True)
            if preview is not None:
                write_sheet(preview, run.sight, run.zones)
            give(run)
    if failed:
        raise PermanentError(f"{failed} of {len(videos)} films could not be read")


def _read_lines(transcript: Path) -> list[str]:
    try:
        return read_transcript(transcript.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise PermanentError(f"{transcript}: not UTF-8 text ({error.reason} at byte {error.start})") from error


def _run(video: Path, wanted: Wanted, tools: Tools, check: Check, stills: Path | None, *, plain_progress: bool) -> FilmRun:
    with progress(video.name, "samples", plain=plain_progress) as report:

        def report_and_check(done: int, total: int | None) -> None:
            check()
            report(done, total)

        if stills is None:
            return run_film(video, wanted, tools, report_and_check)
        with StillFile() as kept:
            run = run_film(video, wanted, tools, report_and_check, kept.add)
            _write_stills(run, kept, stills)
    return run


def _write_stills(run: FilmRun, kept: StillFile, folder: Path) -> None:
    count = 0
    for number, caption in enumerate(run.captions, start=1):
        picture = kept.longest(caption.zone, caption.extent.first_frame, caption.extent.last_frame)
        if picture is not None:
            write_whole(folder / f"{run.path.stem}-{number:04}.png", picture)
            count += 1
    remark(f"{count} stills written to {folder}")
