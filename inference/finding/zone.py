"""The parts of a picture in which captions are searched, and the ways to name one."""

import re
from dataclasses import dataclass
from typing import Final

from core.errors import PermanentError
from core.types import Anchor
from inference.media.box import CropBox

NAMED: Final = {
    "bottom-third": (0.0, 2 / 3, 1.0, 1.0),
    "bottom-fifth": (0.0, 0.8, 1.0, 1.0),
    "top-third": (0.0, 0.0, 1.0, 1 / 3),
    "top-fifth": (0.0, 0.0, 1.0, 0.2),
    "middle-third": (0.0, 1 / 3, 1.0, 2 / 3),
    "full": (0.0, 0.0, 1.0, 1.0),
}
"""Left, top, right and bottom as shares of the picture."""

CROP_FORMS: Final = "L,T,R,B in pixels (0,600,1280,700), in percent (0%,85%,100%,95%), or " + ", ".join(NAMED)


@dataclass(frozen=True, slots=True)
class Zone:
    """A strip with captions, and the side at which they are aligned."""

    name: str
    box: CropBox
    anchor: Anchor = Anchor.CENTER


@dataclass(frozen=True, slots=True)
class Crop:
    """A crop box before the film's size is known: each side in pixels, or as a share of the picture."""

    sides: tuple[float, float, float, float]  # left, top, right, bottom
    are_shares: tuple[bool, bool, bool, bool]

    def box(self, width: int, height: int) -> CropBox:
        """Return the box in a picture of this size. ``CropBox.check_within`` checks that it lies within."""
        return CropBox(
            *(
                round(side * whole) if is_share else int(side)
                for side, is_share, whole in zip(self.sides, self.are_shares, (width, height, width, height), strict=True)
            )
        )


def parse_crop(text: str) -> Crop:
    """
    Raises:
        PermanentError: the text has none of the forms.
    """
    if text in NAMED:
        return Crop(NAMED[text], (True, True, True, True))
    parts = [re.fullmatch(r"\s*(\d+(?:\.\d+)?)(%?)\s*", part) for part in text.split(",")]
    matches = [match for match in parts if match is not None]
    if len(parts) != 4 or len(matches) != 4 or any("." in match[1] and not match[2] for match in matches):
        raise PermanentError(f"{text!r} is not a crop box; expected {CROP_FORMS}")
    sides = tuple(float(match[1]) / (100 if match[2] else 1) for match in matches)
    return Crop(
        (sides[0], sides[1], sides[2], sides[3]), (bool(matches[0][2]), bool(matches[1][2]), bool(matches[2][2]), bool(matches[3][2]))
    )


def zone_name(box: CropBox, height: int) -> str:
    """Return ``top``, ``middle`` or ``bottom``, by the middle of the box in a picture of this height."""
    middle = (box.top + box.bottom) / 2 / height
    return "top" if middle < 1 / 3 else "middle" if middle < 2 / 3 else "bottom"


def name_zones(boxes: list[CropBox], anchors: list[Anchor], height: int) -> list[Zone]:
    """Name zones by their place. If several are in one third, all but the first have a number."""
    zones: list[Zone] = []
    for box, anchor in zip(boxes, anchors, strict=True):
        base = zone_name(box, height)
        same = sum(zone.name == base or zone.name.startswith(f"{base} ") for zone in zones)
        zones.append(Zone(f"{base} {same + 1}" if same else base, box, anchor))
    return zones
