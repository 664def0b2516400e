"""The contact sheet of ``--preview``: its shape, and where its labels are."""

import io

import numpy as np
import pytest
from PIL import Image

from cli.film.finding.sheet import draw_sheet
from core.types import Anchor
from inference.finding.zone import Zone
from inference.media.box import CropBox

COLOUR = (255, 70, 70)


def sheet(width: int, height: int, count: int, zones: list[Zone]) -> np.ndarray:
    pictures = [(float(number), np.full((height, width, 3), 90, np.uint8)) for number in range(count)]
    with Image.open(io.BytesIO(draw_sheet(pictures, zones))) as image:
        return np.asarray(image)


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (1080, 1920), (1440, 1080), (1920, 800)])
def test_a_sheet_is_about_as_wide_as_high(width: int, height: int) -> None:
    """Twelve pictures of a usual film, upright or not, make a sheet at most half again as wide as high, or as high as wide."""
    rows, columns = sheet(width, height, 12, []).shape[:2]
    assert 1 / 1.5 < columns / rows < 1.5
    assert 900 < columns < 1500


def test_few_pictures_are_not_blown_up() -> None:
    """A single picture keeps the size that it has among many."""
    assert sheet(640, 360, 1, []).shape[:2] == (286, 496)


@pytest.mark.parametrize(("box", "rows"), [((0, 0, 480, 40), (44, 62)), ((0, 200, 480, 250), (182, 199)), ((0, 0, 480, 270), (250, 266))])
def test_a_label_is_not_under_the_time(box: tuple[int, int, int, int], rows: tuple[int, int]) -> None:
    """A zone's label is above its box, or below it if the time is there, or inside a box that fills the picture."""
    picture = sheet(480, 270, 1, [Zone("top", CropBox(*box), Anchor.CENTER)])[8:-8, 8:-8]
    near = (np.abs(picture.astype(int) - COLOUR).sum(axis=2) < 120)[:, 4:200]
    assert near[rows[0] : rows[1]].sum() > 60
