"""A boundary that is known to a tenth of a second is placed on one of the film's own pictures; in a fade, at the middle."""

from collections.abc import Callable

import numpy as np
import pytest

from core.labels import DIFFERENT, EMPTY_VALID, VALID_EMPTY
from inference.finding.boundaries import Moment, refine

RATE = 25
PAIR = 20  # the boundary lies between 2.0 s and 2.1 s


def film(visibility: Callable[[float], float], ground: Callable[[float], np.ndarray] | None = None, rate: float = RATE) -> list[Moment]:
    """Four seconds of a strip with letters in one corner. ``visibility`` gives how visible they are at each picture's time."""
    letters = np.zeros((48, 400), np.float32)
    letters[10:30:4, 100:200:3] = 200
    moments = []
    for number in range(int(4 * rate)):
        seconds = number / rate
        base = ground(seconds) if ground else np.full((48, 400), 40, np.float32)
        share = visibility(seconds) * (letters > 0)
        moments.append(Moment(seconds, (base * (1 - share) + letters * share).astype(np.uint8)))
    return moments


@pytest.mark.parametrize("first", [51, 52])
def test_a_cut_is_placed_on_its_picture(first: int) -> None:
    """A caption starts at the first picture between two samples that shows its letters."""
    assert refine(film(lambda seconds: float(seconds >= first / RATE - 1e-9)), PAIR, EMPTY_VALID, None, None) == first / RATE


def test_an_end_is_placed_on_the_first_picture_without_letters() -> None:
    """A caption's end is placed like its start, on the first picture without letters."""
    assert refine(film(lambda seconds: float(seconds < 2.04 - 1e-9)), PAIR, EMPTY_VALID, None, None) == 2.04


@pytest.mark.parametrize("middle", [1.8, 2.0, 2.3])
def test_a_fade_of_a_second_is_placed_where_half_of_it_is_seen(middle: float) -> None:
    """The network may put the boundary anywhere in a fade. By eye, half of a caption is visible at a little over half of its luma."""
    appearing = film(lambda seconds: float(np.clip(seconds - middle + 0.5, 0, 1)))
    disappearing = film(lambda seconds: float(np.clip(middle + 0.5 - seconds, 0, 1)))
    assert refine(appearing, PAIR, EMPTY_VALID, None, None) == pytest.approx(middle + 0.065, abs=1.01 / RATE)
    assert refine(disappearing, PAIR, VALID_EMPTY, None, None) == pytest.approx(middle - 0.05, abs=1.01 / RATE)


def test_a_fade_from_one_caption_to_another_is_placed_at_its_half() -> None:
    """Where one caption fades into another, the boundary is where the second becomes the stronger one."""
    moments = film(lambda seconds: float(np.clip(seconds - 2.05 + 0.5, 0, 1)))
    assert refine(moments, PAIR, DIFFERENT, None, None) == pytest.approx(2.05, abs=1.01 / RATE)


def test_a_fade_that_begins_as_soon_as_a_caption_has_ended_is_placed_in_the_fade() -> None:
    """The only picture without letters is the first one after the other caption's end."""
    moments = film(lambda seconds: 1.0 if seconds < 1.96 - 1e-9 else float(np.clip(seconds - 1.96, 0, 1)))
    assert refine(moments, PAIR, EMPTY_VALID, 1.96, None) == pytest.approx(2.525, abs=2.01 / RATE)


def test_a_cut_of_the_scene_nearby_does_not_draw_the_boundary_to_it() -> None:
    """A cut in the background 0.4 s before a caption does not move the caption's start."""
    shades = np.random.default_rng(1).integers(0, 120, (2, 48, 400)).astype(np.float32)
    moments = film(lambda seconds: float(seconds >= 2.08 - 1e-9), lambda seconds: shades[int(seconds >= 1.64)])
    assert refine(moments, PAIR, EMPTY_VALID, None, None) == 2.08


def test_pictures_of_another_caption_do_not_count() -> None:
    """A caption that ends three tenths of a second after its start keeps its start."""
    moments = film(lambda seconds: float(2.04 - 1e-9 <= seconds < 2.4))
    assert refine(moments, PAIR, EMPTY_VALID, None, 2.3) == 2.04


def test_a_variable_rate_keeps_the_pictures_own_times() -> None:
    """If pictures have irregular times, the boundary is one of those times."""
    moments = [moment for number, moment in enumerate(film(lambda seconds: float(seconds >= 2.05))) if number % 7 not in (1, 2)]
    assert refine(moments, PAIR, EMPTY_VALID, None, None) in {moment.start for moment in moments if 2.0 < moment.start <= 2.1}


def test_no_pictures_give_no_time() -> None:
    """Without pictures there is no refined time, so the caller keeps the grid's."""
    assert refine([], PAIR, EMPTY_VALID, None, None) is None
