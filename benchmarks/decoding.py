"""Compares decoding a chunk from memory front to back, as the service does, with seeking to each of its frames."""

import io
import statistics
from fractions import Fraction
from functools import partial
from typing import Final

import av
import numpy as np

from benchmarks.measure import median_ratio, take_turns
from benchmarks.results import Result, Value
from benchmarks.strips import synthetic_strips
from core.frames import FRAMES_PER_CHUNK
from inference.engine.predictor import Frames
from inference.media.decode import decode_frames

_STRIPS: Final = ((28, 402), (100, 1440))
_CHUNKS: Final = 10  # a contender's turn


def measure_decoding() -> Result:
    """RGB frames per second on one core, for both ways and each strip size."""
    rows: list[list[Value]] = []
    for height, width in _STRIPS:
        chunk = encode_chunk(synthetic_strips(height, width, FRAMES_PER_CHUNK))
        whole = np.empty((FRAMES_PER_CHUNK, height, width, 3), np.uint8)
        rates = take_turns({"front to back": partial(_front_to_back, chunk, whole), "seeking": partial(_seek_to_each, chunk)})
        ratio = median_ratio(rates["front to back"], rates["seeking"])
        rows.append([f"{width}×{height}", statistics.median(rates["front to back"]), statistics.median(rates["seeking"]), ratio])
    notes = ["One thread; conversion to RGB included. Seeking: to the key frame before, then decoding up to the frame, both with PyAV."]
    return Result(
        "decoding", "Decoding chunks of 32 frames", ["strip", "front to back, frames/s", "seeking, frames/s", "ratio"], rows, notes
    )


def _front_to_back(chunk: bytes, whole: Frames) -> int:
    for _ in range(_CHUNKS):
        for place, frame in enumerate(decode_frames("chunk", chunk, FRAMES_PER_CHUNK)):
            whole[place] = frame
    return _CHUNKS * FRAMES_PER_CHUNK


def _seek_to_each(chunk: bytes) -> int:
    """Read one chunk's frames by index: each is decoded from the key frame onward."""
    with av.open(io.BytesIO(chunk), "r", format="matroska") as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        if stream.time_base is None:
            raise ValueError("the chunk's track has no time base")
        for i in range(FRAMES_PER_CHUNK):
            wanted = round(Fraction(i, 10) / stream.time_base)
            container.seek(wanted, stream=stream)
            next(frame for frame in container.decode(stream) if frame.pts is not None and frame.pts >= wanted).to_ndarray(format="rgb24")
    return FRAMES_PER_CHUNK


def encode_chunk(frames: Frames) -> bytes:
    """One VP9/WebM chunk at 10 Hz."""
    file = io.BytesIO()
    with av.open(file, "w", format="webm") as container:
        stream = container.add_stream("libvpx-vp9", rate=10)
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        stream.options = {"crf": "20", "b": "0", "deadline": "realtime", "cpu-used": "5"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24")))
        container.mux(stream.encode(None))
    return file.getvalue()
