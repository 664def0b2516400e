"""The page of ``extents compare --html``: each caption that changed, with the strips at its boundaries. One file, no network."""

import base64
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from html import escape
from typing import Final
from uuid import UUID

from cli.shared.listing import Row
from core.captions import CaptionExtent
from core.film_time import clock
from core.frames import MAX_CHUNK_BYTES, plan_chunks
from core.types import FRAMES_PER_SECOND
from storage.keys import Keys
from storage.objects import ObjectStore

PLACES: Final = 60
"""Strips of this many places make a file of a few MB, which is more than a reader looks through."""

_STYLE: Final = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1100px; padding: 0 1rem; color: #1c2330; background: #fff }
h1 { font-size: 1.4rem } dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem } dt { color: #667 }
dd { margin: 0 } section { border-top: 1px solid #d8dce4; margin-top: 1.5rem; padding-top: .8rem }
h2 { font-size: 1rem } .side { display: grid; grid-template-columns: 5rem 1fr 1fr; gap: .6rem; align-items: center; margin: .4rem 0 }
figure { margin: 0 } img { max-width: 100%; display: block; border: 1px solid #d8dce4 } figcaption { color: #667; font-size: .8rem }
.inside img { border: 2px solid #1a7f4e }
"""


def boundary_frames(places: Sequence[Row], frame_count: int) -> set[int]:
    """The frames on both sides of each boundary of the captions that are shown."""
    frames = set()
    for place in places[:PLACES]:
        for caption in (place["before"], place["after"]):
            if caption is not None:
                frames |= {caption.first_frame - 1, caption.first_frame, caption.last_frame, caption.last_frame + 1}
    return {frame for frame in frames if 0 <= frame < frame_count}


async def fetch_strips(
    store: ObjectStore, keys: Keys, tenant_id: UUID, video_id: UUID, version: int, frame_count: int, frames: Collection[int]
) -> dict[int, bytes]:
    """PNGs of these frames, by their index. Each chunk is fetched once.

    Raises:
        MissingObjectError: a chunk is not in the store any more.
    """
    from cli.shared.pictures import png  # loads Pillow
    from inference.media.decode import decode_frames  # loads PyAV

    by_chunk: dict[str, list[int]] = defaultdict(list)
    chunks = {chunk.name: list(chunk.frames) for chunk in plan_chunks(frame_count)}
    for name, held in chunks.items():
        by_chunk[name] = [frame for frame in held if frame in frames]
    found: dict[int, bytes] = {}
    for name, wanted in by_chunk.items():
        if wanted:
            held = chunks[name]
            data = await store.get(keys.chunk(tenant_id, video_id, version, name), MAX_CHUNK_BYTES)
            for frame, picture in zip(held, decode_frames(name, data, len(held)), strict=True):
                if frame in frames:
                    found[frame] = png(picture, optimize=True)
    return found


def page(title: str, facts: Sequence[tuple[str, str]], places: Sequence[Row], strips: Mapping[int, bytes]) -> str:
    """The whole page. Every text in it is escaped, and every picture is inside."""
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts)
    sections = "".join(_section(place, strips) for place in places[:PLACES])
    rest = f"<p>… and {len(places) - PLACES} more</p>" if len(places) > PLACES else ""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
        f"<h1>{escape(title)}</h1><dl>{listed}</dl>{sections}{rest}</html>\n"
    )


def _section(place: Row, strips: Mapping[int, bytes]) -> str:
    caption: CaptionExtent = place["after"] or place["before"]
    heading = f"{place['change']} at {clock(caption.start_seconds)}"
    if place["change"] == "moved":
        heading += f": start {place['start_shift']:+d}, end {place['end_shift']:+d} frames"
    sides = "".join(_side(name, place[name], strips) for name in ("before", "after") if place[name] is not None)
    return f"<section><h2>{escape(heading)}</h2>{sides}</section>"


def _side(name: str, caption: CaptionExtent, strips: Mapping[int, bytes]) -> str:
    starts = _strip(caption.first_frame - 1, strips, inside=False) + _strip(caption.first_frame, strips, inside=True)
    ends = _strip(caption.last_frame, strips, inside=True) + _strip(caption.last_frame + 1, strips, inside=False)
    return f'<div class="side"><b>{name}</b><div>{starts}</div><div>{ends}</div></div>'


def _strip(frame: int, strips: Mapping[int, bytes], *, inside: bool) -> str:
    if frame not in strips:
        return ""
    source = f"data:image/png;base64,{base64.b64encode(strips[frame]).decode()}"
    label = f"frame {frame}, {clock(frame / FRAMES_PER_SECOND)}"
    return (
        f'<figure class="{"inside" if inside else "outside"}"><img src="{source}" alt="{label}"><figcaption>{label}</figcaption></figure>'
    )
