"""The conformance cases: stored videos, and the probabilities that the old service's own predictor computed for them."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from core.frames import plan_spans
from core.types import Anchor, Layout
from inference.engine.predictor import Frames, Predictor, Probabilities
from inference.media.span import decode_span

DATA: Final = Path(__file__).parents[1] / "data" / "conformance"
CASES: Final = ("crop-right", "spans-center", "tile-left", "tile-right")
TOLERANCE: Final = 1e-4
"""Largest difference of any float32 probability from the old service's."""


@dataclass(frozen=True, slots=True)
class Case:
    layout: Layout
    spans: list[Frames]
    expected: Probabilities  # (pairs, 2, 5)

    def predict(self, predictor: Predictor) -> Probabilities:
        video = predictor.open_video(self.layout)
        return np.concatenate([predictor.predict(video, frames) for frames in self.spans])


def chunk_bytes(case: str) -> dict[str, bytes]:
    folder = DATA / case / "cropped_frames_v1"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("*/*.webm")}


def load_case(name: str) -> Case:
    with np.load(DATA / name / "expected.npz") as stored:
        expected = np.stack([stored["forward"], stored["backward"]], axis=1)
    frame_count, chunks = len(expected) + 1, chunk_bytes(name)
    return Case(_layout(name), [decode_span(span, frame_count, chunks) for span in plan_spans(frame_count)], expected)


def _layout(case: str) -> Layout:
    columns = "anchor_type, crop_left, crop_top, crop_right, crop_bottom, frame_width, frame_height, ocr_visualization_image"
    with closing(sqlite3.connect(DATA / case / "layout.db")) as connection:
        anchor, *edges, image = connection.execute(f"SELECT {columns} FROM video_layout_config ORDER BY rowid DESC").fetchone()
    return Layout(Anchor(anchor), *edges, image)
