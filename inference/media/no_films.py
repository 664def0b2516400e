"""Formats in which FFmpeg finds pictures, although such a file is no film."""

from typing import Final

_TEXT: Final = "this is text, not a video: FFmpeg would draw its letters as pictures"
_STILL: Final = "this is a still picture, not a video"

REASONS: Final = {
    # For a file with a name such as .txt or .nfo, FFmpeg takes any bytes for the output of a terminal from the nineties.
    **dict.fromkeys(("adf", "bin", "idf", "tty", "xbin"), _TEXT),
    "cdg": "these are the graphics of a karaoke CD, not a video: FFmpeg makes pictures of any bytes in a file with this extension",
    **dict.fromkeys(("alias_pix", "brender_pix", "fits", "ico", "image2", "image2pipe", "txd"), _STILL),
}
"""By the name of FFmpeg's demuxer; those for a still in a pipe end with ``_pipe``."""


def why_no_film(format_name: str) -> str | None:
    """Return why a file that FFmpeg opened with this demuxer is no film; None if it may be one."""
    return _STILL if format_name.endswith("_pipe") else REASONS.get(format_name)
