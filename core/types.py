"""Values and enumerations shared by all parts of the service."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MODEL_VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Label(StrEnum):
    """The class of a frame pair. The order of the members is the order of the logits."""

    SAME = "same"
    DIFFERENT = "different"
    EMPTY_EMPTY = "empty_empty"
    EMPTY_VALID = "empty_valid"
    VALID_EMPTY = "valid_empty"


LABELS: Final = tuple(Label)

FRAMES_PER_SECOND: Final = 10
"""Strips are sampled at 10 Hz, so frame i shows the video at i / 10 seconds."""


class Anchor(StrEnum):
    """The side of the strip to which its text is aligned."""

    LEFT = "left"
    CENTER = "center"
    RIGHT = "right"


class Priority(StrEnum):
    HIGH = "high"
    LOW = "low"


class Precision(StrEnum):
    """The arithmetic of a run's computation. Pinned in every work record and written to the run database."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class Outcome(StrEnum):
    """How a run ends. ``cancelled`` is announced as a failure with its own reason."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class RejectionType(StrEnum):
    VALIDATION_FAILED = "validation_failed"
    FRAME_COUNT_EXCEEDED = "frame_count_exceeded"
    COST_EXCEEDED = "cost_exceeded"
    RATE_LIMITED = "rate_limited"
    QUEUE_FULL = "queue_full"


@dataclass(frozen=True, slots=True)
class Layout:
    """The newest row of ``video_layout_config``: where the strip was cropped, and the OCR visualisation.

    Crop edges and frame sides are in pixels of the full frame; ``ocr_image`` is an encoded image (PNG or JPEG).
    """

    anchor: Anchor
    crop_left: int
    crop_top: int
    crop_right: int
    crop_bottom: int
    frame_width: int
    frame_height: int
    ocr_image: bytes
