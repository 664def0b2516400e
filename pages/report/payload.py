"""A run in the format of the timeline's script: compact, so that 36,000 pairs take a fraction of a megabyte."""

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from core.types import FRAMES_PER_SECOND, LABELS
from pages.report.attention import Attention, read_forward
from storage.run_db_reader import RunDatabase

ISSUE_KINDS: Final = ("direction_conflict", "incoherent", "single_frame", "doubtful")


@dataclass(frozen=True, slots=True)
class Filmstrip:
    """Strips on both sides of a pair, as encoded images of consecutive frames from ``first_frame``."""

    pair: int
    first_frame: int
    images: Sequence[bytes]
    media_type: str = "image/jpeg"


def payload(
    run: RunDatabase,
    attention: Sequence[Attention],
    filmstrips: Sequence[Filmstrip],
    no_strips: str = "No strips are embedded in this report.",
) -> dict[str, Any]:
    """Build the input of ``timeline.js``.

    Probabilities are bytes, 255 for 1, in the order pair, direction (both with forward labels), label. They are compressed with zlib,
    which the browser expands. Issues are pairs of numbers: the kind's index in ``issue_kinds``, and the frame.
    """
    quantised = np.rint(read_forward(run) * 255).astype(np.uint8)
    kinds = [*ISSUE_KINDS, *sorted({issue.kind for issue in run.track.issues} - set(ISSUE_KINDS))]
    return {
        "pairs": run.pairs,
        "frames_per_second": FRAMES_PER_SECOND,
        "labels": [label.value for label in LABELS],
        "probabilities": _packed(quantised),
        "used": _packed(run.track.labels.astype(np.uint8)),
        "captions": [
            [caption.first_frame, caption.last_frame, _rounded(caption.start_confidence), _rounded(caption.end_confidence)]
            for caption in run.track.captions
        ],
        "issue_kinds": kinds,
        "issues": [[kinds.index(issue.kind), issue.frame_index] for issue in run.track.issues],
        "attention": [[item.pair, _rounded(item.score), item.reason] for item in attention],
        "no_strips": no_strips,
        "filmstrips": {
            str(strip.pair): {"first_frame": strip.first_frame, "images": [_data_uri(image, strip.media_type) for image in strip.images]}
            for strip in filmstrips
        },
    }


def _packed(values: npt.NDArray[np.uint8]) -> str:
    return base64.b64encode(zlib.compress(values.tobytes(), 9)).decode()


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _data_uri(image: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(image).decode()}"
