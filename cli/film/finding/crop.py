"""``extents crop``: where a film's captions are, without looking for when."""

from pathlib import Path

import click

from cli.film.engine import Engine, choose_model
from cli.film.finding.film_run import PREVIEW_PICTURES, Wanted, look
from cli.film.finding.forms import zones_as_json
from cli.film.finding.sheet import write_sheet
from cli.shared.output import print_json, print_table
from cli.shared.parameters import PictureParameter, json_option
from cli.shared.pictures import FORMATS
from core.errors import CorruptInputError
from core.files import make_parent
from core.settings import Settings


@click.command(
    epilog="""\b
Examples:
  extents crop film.mp4
  extents crop film.mp4 --preview sheet.png
  extents find film.mp4 --crop $(extents crop film.mp4 --json | jq -r '.zones[0].crop | join(",")')"""
)
@click.argument("video", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--preview",
    type=PictureParameter(*FORMATS),
    metavar="FILE",
    help="Also draw the zones on pictures of the film, in this file (PNG or JPEG).",
)
@json_option
def command(video: Path, preview: Path | None, as_json: bool) -> None:
    """Print where captions are in VIDEO: the zones that ``extents find`` uses without --crop.

    Searches about a hundred pictures spread over the film.
    """
    if video.is_fifo():
        raise CorruptInputError(f"{video}: a pipe can be read only once, from its beginning: write it to a file first")
    if preview is not None:
        make_parent(preview)
    settings = Settings()
    predictor = Engine(settings.worker, settings.admission.precision).load(choose_model(settings))
    zones, sight = look(video, Wanted(preview_pictures=PREVIEW_PICTURES if preview else 0), predictor)
    if as_json:
        print_json({"video": str(video), "zones": zones_as_json(zones)})
    elif zones:
        print_table(("zone", "crop", "aligned"), [(zone.name, str(zone.box), zone.anchor.value) for zone in zones])
    if preview is not None:
        write_sheet(preview, sight, zones)
