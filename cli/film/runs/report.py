"""``extents report``: a run as one HTML file to look at, or as a picture of its timeline."""

from collections.abc import Sequence
from pathlib import Path

import click

from cli.film.runs.opened_run import OpenedRun, open_run
from cli.film.runs.report_picture import draw_timeline
from cli.film.runs.report_strips import read_filmstrips
from cli.film.runs.run_frames import NAME_FRAMES
from cli.shared.output import print_facts, print_json, progress
from cli.shared.parameters import PictureParameter, json_option
from core.counts import counted
from core.errors import ConfigurationError, ExtentsError
from core.files import make_parent, write_whole
from core.sizes import size
from pages.report.attention import rank, worst_boundaries
from pages.report.page import render_report
from pages.report.payload import Filmstrip


@click.command(
    epilog="""\b
Examples:
  extents report run.db
  extents report run.db --frames film -o report.html
  extents report 7f3c2d1e-0d4a-5c57-9a61-7b1f0c2d9e55 --png timeline.png
\b
Settings, for a run in the store: WASABI_*, SUPABASE_*, EXTENTS_KEY_CHUNK."""
)
@click.argument("run")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="The report to write.  [default: report.html]"
)
@click.option("--png", type=PictureParameter(".png"), metavar="FILE", help="Also write a picture of the timeline.")
@click.option(
    "--frames",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Where the video's cropped frames are.  [default: the run database's folder, or the store]",
)
@click.option(
    "--strips",
    type=click.IntRange(0, 100),
    metavar="N",
    default=12,
    show_default=True,
    help="Embed the strips either side of the N least certain boundaries; 0 for none.",
)
@json_option
def command(run: str, output: Path | None, png: Path | None, frames: Path | None, strips: int, as_json: bool) -> None:
    """Write a report of RUN: its captions on a timeline, and what to look at first.

    RUN is a run database, or the id of a run in the store. The report is one file that loads nothing else. With --png
    alone, only the picture is written.
    """
    opened = open_run(run)
    if output is None and png is None:
        output = Path("report.html")
    written: dict[str, int] = {}
    filmstrips: Sequence[Filmstrip] = ()
    without_strips = None
    if output is not None:
        filmstrips, without_strips = _filmstrips(opened, frames, strips)
        content = render_report(opened.run, filmstrips, without_strips).encode()
        make_parent(output)
        write_whole(output, content)
        written[str(output)] = len(content)
    if png is not None:
        picture = draw_timeline(opened.run)
        make_parent(png)
        write_whole(png, picture)
        written[str(png)] = len(picture)
    _print(opened, written, len(filmstrips), without_strips, as_json)


def _filmstrips(opened: OpenedRun, frames: Path | None, count: int) -> tuple[Sequence[Filmstrip], str | None]:
    """The strips, or why they are missing: a report is useful without them, unless --frames asked for them."""
    pairs = worst_boundaries(opened.run, count)
    if not pairs:
        return (), None
    try:
        with progress("reading", "boundaries") as report:
            return read_filmstrips(opened, frames, pairs, report), None
    except ConfigurationError:
        return (), "the settings of the store are not set, and --frames names no folder of cropped frames"
    except ExtentsError as error:
        if frames is not None:
            raise
        return (), f"{error}; {NAME_FRAMES}"


def _print(opened: OpenedRun, written: dict[str, int], filmstrips: int, without_strips: str | None, as_json: bool) -> None:
    to_look_at = len(rank(opened.run))
    if as_json:
        print_json(
            {
                "run_id": opened.run.run_id,
                "files": [{"path": path, "size_bytes": size_bytes} for path, size_bytes in written.items()],
                "captions": len(opened.run.track.captions),
                "to_look_at": to_look_at,
                "filmstrips": filmstrips,
                "without_strips": without_strips,
            }
        )
        return
    print_facts(
        [
            ("run", opened.run.run_id),
            ("captions", f"{len(opened.run.track.captions)}; {counted(to_look_at, 'pair')} to look at"),
            *([("strips", f"of {filmstrips} {'boundary' if filmstrips == 1 else 'boundaries'}")] if filmstrips else []),
            *([("strips", f"none: {without_strips}")] if without_strips is not None else []),
            *(("written", f"{path}, {size(size_bytes)}") for path, size_bytes in written.items()),
        ]
    )
