"""``extents encode``: cuts a film into cropped chunks with a layout, in a folder or in the object store."""

from pathlib import Path
from uuid import UUID

import click

from cli.film.encoding.encode_folder import Target, encode_to_folder
from cli.shared.output import print_facts, print_json, program, progress
from cli.shared.parameters import UuidParameter, anchor_option, crop_option, json_option
from core.settings import Settings
from core.sizes import size
from core.types import FRAMES_PER_SECOND, Anchor
from inference.media.box import CropBox


@click.command(
    epilog="""\b
Examples:
  extents encode film.mp4 --crop 0,600,1280,700 --out film
  extents predict film
\b
  extents encode film.mp4 --crop 0,600,1280,700 --tenant-id UUID --video-id UUID
  extents submit --tenant-id UUID --video-id UUID --watch
\b
Settings, for the object store: WASABI_*, EXTENTS_KEY_CHUNK, EXTENTS_KEY_LAYOUT."""
)
@click.argument("video", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@crop_option
@anchor_option
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER", help="Write into this folder.")
@click.option("--tenant-id", type=UuidParameter(), help="Write into the object store, as a video of this tenant; needs --video-id.")
@click.option("--video-id", type=UuidParameter(), help="Id of the video in the object store; needs --tenant-id.")
@click.option(
    "--version", type=click.IntRange(min=1), metavar="N", default=1, show_default=True, help="Version of the cropped frames to write."
)
@json_option
def command(
    video: Path,
    crop: tuple[int, int, int, int],
    anchor: str,
    out: Path | None,
    tenant_id: UUID | None,
    video_id: UUID | None,
    version: int,
    as_json: bool,
) -> None:
    """Cut the strip inside --crop out of VIDEO ten times a second, and write WebM chunks with a layout.db beside them.

    Accepts any film that FFmpeg reads. Never overwrites anything: a version of the frames is written completely or not
    at all.
    """
    box = CropBox(*crop)
    if out is not None and tenant_id is None and video_id is None:
        with progress("encoding", "frames") as report:
            target = encode_to_folder(video, box, Anchor(anchor), out, version, report)
        following = f"{program()} predict {out}"
    elif out is None and tenant_id is not None and video_id is not None:
        from cli.film.encoding.encode_store import (
            encode_to_store,  # needs the store's client, which the installation for films does not have
        )

        with progress("encoding", "frames") as report:
            target = encode_to_store(video, box, Anchor(anchor), Settings(), tenant_id, video_id, version, report)
        following = f"{program()} submit --tenant-id {tenant_id} --video-id {video_id} --version {version} --watch"
    else:
        raise click.UsageError("choose a destination: --out FOLDER, or --tenant-id and --video-id for the object store")
    _print(target, box, version, following, as_json)


def _print(target: Target, box: CropBox, version: int, following: str, as_json: bool) -> None:
    width, height = box.right - box.left, box.bottom - box.top
    if as_json:
        print_json(
            {
                "frames": target.where,
                "layout": target.layout,
                "cropped_frames_version": version,
                "frame_count": target.frame_count,
                "width": width,
                "height": height,
                "chunks": target.chunks,
                "size_bytes": target.size_bytes,
            }
        )
        return
    print_facts(
        [
            ("frames", f"{target.frame_count} of {width}x{height} pixels, {target.frame_count / FRAMES_PER_SECOND:.1f} s"),
            ("chunks", f"{target.chunks}, {size(target.size_bytes)}: {target.where}"),
            ("layout", target.layout),
            ("next", following),
        ]
    )
