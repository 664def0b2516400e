"""A clip's way through storage: VP9 chunks by level, so that neighbouring frames carry different compression noise."""

from fractions import Fraction

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import VideoReformatter

from core.frames import FRAMES_PER_CHUNK, LEVELS, level_frames
from inference.synthetic.ground import Strips


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
