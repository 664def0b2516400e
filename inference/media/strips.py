"""Cuts strips out of decoded pictures without converting anything outside the crop box."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from inference.arrays import Frames
from inference.media.box import CropBox
from inference.media.film import Film

Luma = npt.NDArray[np.uint8]  # (height, width)

_ALIGNMENT: Final = 8
"""A cut at multiples of this converts to the same colours as the whole picture: chroma is subsampled by 4 at most, and libswscale
rounds differently in the rest of a row after its vector instructions."""

_PLANAR_8_BIT: Final = ("yuv4", "yuvj4", "nv12", "nv21", "gray")
_DEEP: Final = ("le", "be")  # endings of formats with more than 8 bits


class Cutter:
    """Cuts one box out of the pictures of one film. Owned by one thread."""

    def __init__(self, film: Film, box: CropBox) -> None:
        """
        Args:
            box: in the picture as it is shown, within it.
        """
        self._turns = film.rotation // 90 % 4
        whole = (film.height, film.width) if self._turns % 2 else (film.width, film.height)
        stored = _stored(box, self._turns, (film.width, film.height))
        aligned = _widened(stored, *whole)
        inside = CropBox(stored.left - aligned.left, stored.top - aligned.top, stored.right - aligned.left, stored.bottom - aligned.top)
        self._inside = (slice(inside.top, inside.bottom), slice(inside.left, inside.right))
        self._crop = _Crop(aligned)
        self._trim = _Crop(inside)
        self._reformatter = VideoReformatter()

    def cut(self, frame: VideoFrame) -> VideoFrame:
        """Cut the part of a decoded picture that holds the box, without a copy. The picture stays in memory as long as the cut does."""
        return self._crop(frame)

    def strip(self, cut: VideoFrame) -> Frames:
        """Return the box as RGB, equal to the whole picture's: (height, width, 3) uint8."""
        rgb = self._reformatter.reformat(cut, format="rgb24", threads=1).to_ndarray()
        return np.rot90(rgb[self._inside], self._turns)

    def scaled(self, cut: VideoFrame, height: int, width: int) -> Frames:
        """Return the box as RGB of another size, (height, width, 3) uint8, converted and resized in one step.

        The filter is a triangle as wide as that of torch's antialiased bilinear resize; the results differ by one level on average.
        """
        across, down = (height, width) if self._turns % 2 else (width, height)
        small = self._reformatter.reformat(self._trim(cut), across, down, "rgb24", interpolation=Interpolation.BILINEAR, threads=1)
        return np.rot90(small.to_ndarray(), self._turns)

    def luma(self, cut: VideoFrame, most_rows: int, most_columns: int) -> Luma:
        """Return luma of evenly spaced pixels, a copy of at most about these rows and columns, for comparing pictures."""
        levels: Any
        name = cut.format.name
        if name.startswith(_PLANAR_8_BIT) and not name.endswith(_DEEP):
            plane = cut.planes[0]
            rows = np.frombuffer(memoryview(plane), np.uint8)[: plane.line_size * cut.height].reshape(cut.height, plane.line_size)
            levels = rows[:, : cut.width]
        else:
            levels = self._reformatter.reformat(cut, format="gray8", threads=1).to_ndarray()
        levels = np.rot90(np.asarray(levels[self._inside], np.uint8), self._turns)
        height, width = levels.shape
        return np.ascontiguousarray(levels[:: -(-height // most_rows), :: -(-width // most_columns)])


class _Crop:
    """FFmpeg's crop filter: it moves pointers and copies nothing."""

    def __init__(self, box: CropBox) -> None:
        self._box = box
        self._graph: Graph | None = None
        self._taken: tuple[int, int, str] | None = None  # format and size of the pictures that the graph was made for

    def __call__(self, frame: VideoFrame) -> VideoFrame:
        kind = frame.width, frame.height, frame.format.name
        if self._graph is None or kind != self._taken:
            self._graph, self._taken = self._make(frame), kind
        self._graph.push(frame)
        cut = self._graph.pull()
        assert isinstance(cut, VideoFrame)
        return cut

    def _make(self, frame: VideoFrame) -> Graph:
        graph = Graph()
        source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base)
        crop = graph.add("crop", f"w={self._box.width}:h={self._box.height}:x={self._box.left}:y={self._box.top}:exact=1")
        sink = graph.add("buffersink")
        source.link_to(crop)
        crop.link_to(sink)
        graph.configure()
        return graph


def _widened(box: CropBox, width: int, height: int) -> CropBox:
    """Move the box's sides outward to multiples of the alignment, within the picture."""
    return CropBox(
        box.left // _ALIGNMENT * _ALIGNMENT,
        box.top // _ALIGNMENT * _ALIGNMENT,
        min(width, -(-box.right // _ALIGNMENT) * _ALIGNMENT),
        min(height, -(-box.bottom // _ALIGNMENT) * _ALIGNMENT),
    )


def _stored(box: CropBox, turns: int, size: tuple[int, int]) -> CropBox:
    """Return the box in the stored picture, which becomes the shown one by ``turns`` quarter turns counterclockwise."""
    width, height = size  # as shown
    for _ in range(turns):
        box = CropBox(height - box.bottom, box.left, height - box.top, box.right)
        width, height = height, width
    return box
