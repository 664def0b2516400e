"""Passes a clip through storage: VP9 chunks by level, so that neighbouring frames carry different compression noise."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Final

import av
import numpy as np
import numpy.typing as npt
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import VideoReformatter

from core.frames import FRAMES_PER_CHUNK, LEVELS, level_frames
from training.synthetic.clip import LUMA, Clip
from training.synthetic.ground import Strips

_LEAST_KEPT: Final = 0.5  # of the contrast of each part of a caption, in every frame; with less it cannot be read
_PARTS: Final = 6  # of a caption's width, about a word each
_STEP: Final = 4
_BEST: Final = 24  # rate factor at which no letter is lost


def store(clip: Clip, first_frame: int) -> Strips:
    """Store a clip and read it again, at its quality or the next better one that leaves its captions readable."""
    for quality in range(clip.quality, min(clip.quality, _BEST) - 1, -_STEP):
        stored = through_chunks(clip.strips, first_frame, quality)
        if readable(clip, stored):
            break
    return stored


def readable(clip: Clip, stored: Strips) -> bool:
    """Whether each part of a caption keeps half its contrast in every frame that shows it, and has less than half in all others."""
    drawn, seen = ((strips.astype(np.float32) - clip.bare) @ LUMA for strips in (clip.strips, stored))
    shown = np.flatnonzero(clip.caption)
    for t, number in enumerate(clip.caption):
        if number:
            if clip.visibility[t] == 1.0 and min(_shares(drawn[t], seen[t]), default=1.0) < _LEAST_KEPT:
                return False
        elif len(shown) and clip.visibility[t] == 0.0:
            near = shown[np.abs(shown - t).argmin()]
            if clip.visibility[near] == 1.0 and max(_shares(drawn[near], seen[t]), default=0.0) > _LEAST_KEPT:
                return False
    return True


def _shares(drawn: npt.NDArray[np.float32], seen: npt.NDArray[np.float32]) -> Iterator[float]:
    """Return for each part how much of the drawn caption (height, width) is visible: 0..1."""
    columns = np.flatnonzero(np.abs(drawn).max(0) > 1)
    if not len(columns):
        return
    parts = (np.array_split(levels[:, columns[0] : columns[-1] + 1], _PARTS, axis=1) for levels in (drawn, seen))
    for original, stored in zip(*parts, strict=True):
        energy = float(np.square(original).sum())
        if energy > 1:
            yield float((original * stored).sum()) / energy


def through_chunks(strips: Strips, first_frame: int, quality: int) -> Strips:
    """Encode and decode strips as frames ``first_frame`` onward of a video would be.

    Args:
        quality: libvpx's constant rate factor, 0 (best) to 63.
    """
    indices = range(first_frame, first_frame + len(strips))
    result = np.empty_like(strips)
    for level in LEVELS:
        places = [index - first_frame for index in level_frames(level, indices)]
        for start in range(0, len(places), FRAMES_PER_CHUNK):
            chunk = places[start : start + FRAMES_PER_CHUNK]
            result[chunk] = _round_trip(strips[chunk], quality)
    return result


def _round_trip(strips: Strips, quality: int) -> Strips:
    encoder = av.CodecContext.create("libvpx-vp9", "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.height, encoder.width = strips.shape[1:3]
    encoder.pix_fmt, encoder.time_base = "yuv420p", Fraction(1, 10)
    encoder.options = {"crf": str(quality), "b": "0", "deadline": "realtime", "cpu-used": "7", "lag-in-frames": "0"}
    encoder.thread_count = 1
    decoder = av.CodecContext.create("vp9", "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.thread_count = 1
    frames = []
    for index, strip in enumerate(strips):
        frame = av.VideoFrame.from_ndarray(strip, format="rgb24")
        frame.pts, frame.time_base = index, encoder.time_base
        for packet in encoder.encode(frame):
            frames += decoder.decode(packet)
    for packet in encoder.encode(None):
        frames += decoder.decode(packet)
    frames += decoder.decode(None)
    converter = VideoReformatter()  # one for all: building it costs more than a strip's conversion
    return np.stack([converter.reformat(frame, format="rgb24").to_ndarray() for frame in frames])
