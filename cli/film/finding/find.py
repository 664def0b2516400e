"""``extents find``: a film in, its subtitles out, on this machine."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from queue import SimpleQueue

import click

from cli.film.engine import Engine, choose_model
from cli.film.finding.crop_parameter import CropFormsParameter
from cli.film.finding.film_run import PREVIEW_PICTURES, FilmRun, Tools, Wanted, run_film
from cli.film.finding.find_films import Check, run_films
from cli.film.finding.forms import FORMS, SUBTITLES, Doubtful, output_path, written
from cli.film.finding.found_table import print_found
from cli.film.finding.sheet import write_sheet
from cli.film.finding.still_file import StillFile
from cli.shared.output import print_heading, progress, remark
from core.errors import ExtentsError, PermanentError
from core.files import make_parent, write_whole
from core.settings import Settings
from core.types import FRAMES_PER_SECOND, Anchor
from inference.finding.words import add_transcript, read_transcript
from inference.finding.zone import CROP_FORMS, Crop
from inference.reading.reader import DEFAULT, open_reader


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
    "--crop", "crops", multiple=True, type=CropFormsParameter(), metavar="BOX", help=f"Look only here: {CROP_FORMS}. May be repeated."
)
@click.option("--anchor", type=click.Choice([anchor.value for anchor in Anchor]), help="How captions are aligned.  [default: detected]")
@click.option("--srt", is_flag=True, help="Write SubRip subtitles.")
@click.option("--vtt", is_flag=True, help="Write WebVTT subtitles.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE|DIR",
    help="Write to this file, whose extension chooses the format, or into this folder.",
)
@click.option(
    "--doubtful",
    type=click.Choice([choice.value for choice in Doubtful]),
    default=Doubtful.OMIT.value,
    show_default=True,
    help="Leave doubtful captions out of subtitles, mark them, or keep them unmarked.",
)
@click.option(
    "--text", is_flag=False, flag_value="", metavar="[LANG]", help="Also read the words; LANG, such as en, is optional (extra `text`)."
)
@click.option(
    "--reader", default=DEFAULT, show_default=True, metavar="NAME", help="Reader of --text: an entry point of the group extents.readers."
)
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
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PNG",
    help="Also draw the zones on pictures of the film, in this file.",
)
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="Films to process at a time.")
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

    Finds where captions are, unless --crop says where, and compares that strip ten times a second; the times are those of
    the film's own pictures. Without --text or --transcript, subtitles say "Caption 1", "Caption 2", … instead of words.
    Writes no files except those that you ask for.
    """
    form = _form(srt=srt, vtt=vtt, as_json=as_json, output=output, several=len(videos) > 1)
    if len(videos) > 1 and (transcript or preview):
        raise click.UsageError("--transcript and --preview work with a single film only")
    if text is not None and transcript is not None:
        raise click.UsageError("--text and --transcript both provide the words: give only one of them")
    outputs = _outputs(videos, output, form, stills)
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
        read = open_reader(text or None, reader) if text is not None else None
        idle.put(Tools(engine.load(model), read))

    def work(video: Path, check: Check) -> FilmRun:
        tools = idle.get()
        try:
            return _run(video, wanted, tools, check, stills, plain_progress=jobs > 1)
        finally:
            idle.put(tools)

    failed = 0
    with closing(run_films(videos, work, jobs)) as results:
        for video, result in results:
            if isinstance(result, ExtentsError):
                if len(videos) == 1:
                    raise result
                failed += 1
                remark(f"error: {result}")
                continue
            run = result if lines is None else replace(result, captions=add_transcript(result.captions, lines))
            if preview is not None:
                write_sheet(preview, run.sight, run.zones)
            if form is None and len(videos) > 1:
                print_heading(str(video))
            _write(run, form, Doubtful(doubtful), model.version, outputs.get(video))
    if failed:
        raise PermanentError(f"{failed} of {len(videos)} films could not be read")


def _form(*, srt: bool, vtt: bool, as_json: bool, output: Path | None, several: bool) -> str | None:
    chosen = [name for name, flag in (("srt", srt), ("vtt", vtt), ("json", as_json)) if flag]
    if len(chosen) > 1:
        raise click.UsageError(f"--{chosen[0]} and --{chosen[1]} exclude each other: choose one format")
    if chosen:
        return chosen[0]
    if output is None:
        return None
    form = output.suffix.removeprefix(".").lower()
    if form in FORMS and not several and not output.is_dir():
        return form
    if several or output.is_dir():
        return "srt"
    raise click.UsageError(f"the extension of {output} names no known format: add --srt, --vtt or --json")


def _outputs(videos: Sequence[Path], output: Path | None, form: str | None, stills: Path | None) -> dict[Path, Path]:
    """The file to write for each film. Neither a film nor another film's output is overwritten."""
    is_folder = output is not None and (len(videos) > 1 or output.is_dir())
    if output is None and form in SUBTITLES and len(videos) > 1:
        raise click.UsageError("subtitles of several films need a folder: add -o DIR")
    outputs = {} if output is None else {video: output_path(output, video, form or "", is_folder=is_folder) for video in videos}
    names = {video: path.resolve() for video, path in outputs.items()} or ({video: Path(video.stem) for video in videos} if stills else {})
    for (video, path), (other, other_path) in combinations(names.items(), 2):
        if path == other_path:
            raise click.UsageError(f"{video} and {other} have the same name, so one result would overwrite the other: rename one of them")
    for path in outputs.values():
        if any(path.exists() and path.samefile(video) for video in videos):
            raise click.UsageError(f"-o {path} would be written over the film")
    return outputs


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
