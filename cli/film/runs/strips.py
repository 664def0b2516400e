"""``extents strips``: the frames around both ends of a caption, as one picture."""

from pathlib import Path

import click

from cli.film.runs.caption_table import captions_as_json
from cli.film.runs.opened_run import open_run
from cli.film.runs.run_frames import NAME_FRAMES, read_frames
from cli.film.runs.strip_sheet import draw_strips
from cli.shared.output import print_facts, print_json, progress
from cli.shared.parameters import PictureParameter, json_option
from core.captions import CaptionExtent
from core.counts import counted
from core.errors import ExtentsError, PermanentError
from core.files import make_parent, write_whole
from core.film_time import clock


@click.command(
    epilog="""\b
Examples:
  extents strips run.db --caption 9
  extents strips run.db --caption 9 --frames film --around 4 -o caption-9.png
  extents strips 7f3c2d1e-0d4a-5c57-9a61-7b1f0c2d9e55 --caption 1
\b
Settings, for a run in the store: WASABI_*, SUPABASE_*, EXTENTS_KEY_CHUNK."""
)
@click.argument("run")
@click.option(
    "--caption", "number", type=click.IntRange(min=1), required=True, metavar="N", help="The caption, by its number in extents show."
)
@click.option(
    "--around", type=click.IntRange(1, 50), default=3, show_default=True, metavar="N", help="Frames to show on each side of both ends."
)
@click.option(
    "--frames",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Where the video's cropped frames are.  [default: the run database's folder, or the store]",
)
@click.option(
    "-o",
    "--output",
    type=PictureParameter(".png"),
    metavar="PNG",
    default=Path("strips.png"),
    show_default=True,
    help="The picture to write.",
)
@json_option
def command(run: str, number: int, around: int, frames: Path | None, output: Path, as_json: bool) -> None:
    """Draw the frames around the start and the end of a caption of RUN. A green bar marks those that show it.

    RUN is a run database, or the id of a run in the store.
    """
    opened = open_run(run)
    captions = opened.run.track.captions
    if number > len(captions):
        raise click.UsageError(f"--caption {number}: the run has {counted(len(captions), 'caption')}; extents show lists them")
    caption = captions[number - 1]
    make_parent(output)
    wanted = frames_around(caption, around, opened.run.pairs + 1)
    try:
        with progress("reading", "chunks") as report:
            pictures = read_frames(opened, frames, wanted, lambda picture: picture.copy(), report)
    except ExtentsError as error:
        if frames is not None:
            raise
        raise PermanentError(f"{error}; {NAME_FRAMES}") from error
    write_whole(output, draw_strips({frame: pictures[frame] for frame in wanted}, caption))
    if as_json:
        print_json(
            {"run_id": opened.run.run_id, "caption": number, **captions_as_json([caption])[0], "frames": wanted, "file": str(output)}
        )
        return
    print_facts(
        [
            ("caption", f"{number} of {len(captions)}: {clock(caption.start_seconds)} - {clock(caption.end_seconds)}"),
            ("frames", f"{caption.first_frame}-{caption.last_frame}; {len(wanted)} shown"),
            ("written", str(output)),
        ]
    )


def frames_around(caption: CaptionExtent, around: int, frame_count: int) -> list[int]:
    """The frames around the caption's start and end, ascending, each once, within the video."""
    starts = range(caption.first_frame - around, caption.first_frame + around)
    ends = range(caption.last_frame + 1 - around, caption.last_frame + 1 + around)
    return [frame for frame in sorted({*starts, *ends}) if 0 <= frame < frame_count]
