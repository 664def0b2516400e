"""Lines of captions become zones; logos that move and texture beside the captions do not."""

import numpy as np

from inference.finding.settle import Seen, settle
from inference.media.box import CropBox

WIDTH, HEIGHT, PICTURES = 1280, 720, 40


def line(picture: int, box: tuple[int, int, int, int], text: int) -> Seen:
    """A line whose strokes depend on its text."""
    left, top, right, bottom = box
    strokes = np.random.default_rng(text).random((bottom - top, right - left)) < 0.3
    return Seen(picture, CropBox(left, top, right, bottom), strokes)


def speech() -> list[Seen]:
    """A line at the bottom of each picture, with another text in every fourth."""
    return [line(picture, (400, 620, 880, 650), 1 + picture // 4) for picture in range(PICTURES)]


def test_a_logo_that_moves_to_another_corner_makes_no_zone() -> None:
    """Writing that is at the top for the first third of a film, without a change, is a logo if other writing changes."""
    logo = [line(picture, box, 100) for picture in range(14) for box in ((20, 20, 200, 50), (20, 60, 200, 74))]
    zones, standing = settle([*logo, *speech()], PICTURES, WIDTH, HEIGHT)
    assert [zone.name for zone in zones] == ["bottom"]
    assert CropBox(20, 20, 200, 50) in standing


def test_notes_at_the_top_make_a_zone() -> None:
    """Writing at the top that changes is captions, and so is a single text where there is no other."""
    notes = [line(picture, (400, 30, 880, 60), 200 + picture // 6) for picture in range(14)]
    zones, _ = settle([*notes, *speech()], PICTURES, WIDTH, HEIGHT)
    assert [zone.name for zone in zones] == ["top", "bottom"]
    zones, _ = settle([line(picture, (400, 620, 880, 650), 1) for picture in range(14)], PICTURES, WIDTH, HEIGHT)
    assert [zone.name for zone in zones] == ["bottom"]


def test_texture_below_the_captions_stays_outside_their_zone() -> None:
    """Lights at the picture's edge that touch the captions' lines do not enlarge the zone, but a second line of text does."""
    lights = [line(picture, (100, 620, 1100, 672), 300 + picture) for picture in range(0, PICTURES, 3)]
    small = [line(picture, (100, 655, 1100, 667), 400 + picture) for picture in range(1, PICTURES, 3)]
    (zone,), _ = settle([*speech(), *lights, *small], PICTURES, WIDTH, HEIGHT)
    assert zone.box.bottom <= 664
    two = [line(picture, (400, 584, 880, 650), 500 + picture) for picture in range(0, PICTURES, 3)]
    (zone,), _ = settle([*speech(), *two], PICTURES, WIDTH, HEIGHT)
    assert zone.box.top <= 584


def test_a_shape_as_tall_as_the_crop_stays_outside_the_zone() -> None:
    """Something drawn from the top to the bottom of a crop, in a third of the pictures, is not taken for lines of text that touch."""
    drawn = [line(picture, (300, 560, 900, 718), 600 + picture) for picture in range(0, PICTURES, 3)]
    (zone,), _ = settle([*speech(), *drawn], PICTURES, WIDTH, HEIGHT)
    assert zone.box.top >= 600
    assert zone.box.bottom <= 670


def test_as_many_lines_of_one_height_as_of_another() -> None:
    """The usual height is always the height of one of the lines, so lines of that height exist even in a film of two pictures."""
    seen = [line(picture, box, picture) for picture, box in enumerate([(400, 620, 880, 650), (400, 600, 880, 700)] * 6)]
    (zone,), _ = settle(seen, 12, WIDTH, HEIGHT)
    assert zone.box.top <= 620
    assert zone.box.bottom >= 650
