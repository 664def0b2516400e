"""WebM chunks for the decoder's tests: valid and broken ones, and whole decoding."""

import io
from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np

from inference.engine.predictor import Frames
from inference.media.decode import decode_frames


def decode_chunk(name: str, data: bytes, frame_count: int, needed: int | None = None) -> Frames:
    """Decode a whole chunk to uint8 (n, height, width, 3) RGB."""
    return np.stack([frame.copy() for frame in decode_frames(name, data, frame_count, needed)])


def random_frames(count: int, height: int, width: int, seed: int = 0) -> Frames:
    """Draw frames of coarse noise, each different from the others."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, -(-height // 8), -(-width // 8), 3), np.uint8)
    return coarse.repeat(8, axis=1).repeat(8, axis=2)[:, :height, :width]


def encode(*clips: Frames, codec: str = "libvpx-vp9", container: str = "webm") -> bytes:
    """Encode the clips one after the other into one track, each with its own encoder, so that sizes may differ."""
    packets = [packet for clip in clips for packet in encoded_packets(clip, codec)]
    return mux(packets, clips[0].shape[2], clips[0].shape[1], codec, container)


def mux(
    packets: Sequence[bytes],
    width: int,
    height: int,
    codec: str = "libvpx-vp9",
    container: str = "webm",
    colour: tuple[int, int] | None = None,
) -> bytes:
    """Write a file whose header claims the given size and colour (matrix, range), whatever its packets hold."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream = output.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        if colour is not None:
            stream.codec_context.colorspace, stream.codec_context.color_range = colour
        for i, data in enumerate(packets):
            packet = av.Packet(data)
            packet.stream, packet.time_base, packet.pts, packet.dts = stream, Fraction(1, 10), i, i
            packet.is_keyframe = i == 0
            output.mux(packet)
    return buffer.getvalue()


def encoded_packets(clip: Frames, codec: str = "libvpx-vp9") -> list[bytes]:
    context = av.CodecContext.create(codec, "w")
    context.width, context.height, context.pix_fmt, context.framerate = clip.shape[2], clip.shape[1], "yuv420p", 10
    context.time_base = Fraction(1, 10)
    context.options = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"} if "vp9" in codec else {}
    frames = [av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24").reformat(format="yuv420p") for frame in clip]
    for i, frame in enumerate(frames):
        frame.pts = i
    return [bytes(packet) for frame in (*frames, None) for packet in context.encode(frame)]


def claim_size(key_frame: bytes, width: int, height: int) -> bytes:
    """Put another size into a VP9 key frame's header (profile 0)."""
    before = 2 + 2 + 1 + 1 + 1 + 1 + 24 + 3 + 1  # marker, profile, show existing, type, show, resilient, sync code, colour space, range
    shift = len(key_frame) * 8 - before - 32  # then two sides of 16 bits, each less one
    sides = (width - 1) << 16 | (height - 1)
    bits = int.from_bytes(key_frame, "big")
    return (bits & ~(0xFFFFFFFF << shift) | sides << shift).to_bytes(len(key_frame), "big")
