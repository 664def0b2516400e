"""A caption continues while its letters stay, whatever moves behind them, and while a box moves on to its next word."""

from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from inference.finding.boundaries import Moment
from inference.finding.continuity import goes_on

RATE = 25
UNSURE, SURE = 0.8, 0.99  # the network, of a change of the text
WORDS = ["Nobody", "has", "seen", "the", "river"]


def moments(drawn: Sequence[Image.Image]) -> list[Moment]:
    """Every second row and column, as ``Cutter.luma`` takes them."""
    return [Moment(number / RATE, np.asarray(picture)[::2, ::2]) for number, picture in enumerate(drawn)]


def over_moving_ground(words: str, first: int) -> list[Moment]:
    """Six pictures of small letters, while a light shape crosses the strip behind them."""
    drawn = []
    for number in range(first, first + 6):
        picture = Image.new("L", (960, 96), 40)
        draw = ImageDraw.Draw(picture)
        draw.ellipse((60 * number, 5, 60 * number + 200, 110), fill=150)
        draw.text((480, 55), words, 240, ImageFont.load_default(26), anchor="mm", stroke_width=2, stroke_fill=0)
        drawn.append(picture)
    return moments(drawn)


def karaoke(words: Sequence[str], lit: int) -> list[Moment]:
    """Six pictures of one line in which the lit word is larger, blue, and on a light box, and so shifts the others."""
    picture = Image.new("L", (960, 96), 20)
    draw = ImageDraw.Draw(picture)
    fonts = [ImageFont.load_default(44 if number == lit else 34) for number in range(len(words))]
    widths = [font.getlength(word) for font, word in zip(fonts, words, strict=True)]
    left = (960 - sum(widths) - 24 * (len(words) - 1)) / 2
    for number, (word, font, width) in enumerate(zip(words, fonts, widths, strict=True)):
        if number == lit:
            draw.rectangle((left - 6, 20, left + width + 6, 76), fill=235)
        draw.text((left, 48), word, 90 if number == lit else 245, font, anchor="lm")
        left += width + 24
    return moments([picture] * 6)


def test_what_moves_behind_small_letters_is_no_new_caption() -> None:
    """The same words over two parts of a moving background are one caption, unless the network is sure of a change."""
    before, after = over_moving_ground("We should have gone home", 0), over_moving_ground("We should have gone home", 7)
    assert goes_on(before, after, UNSURE)
    assert not goes_on(before, after, SURE)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("We should have gone home", "A long time before that"),
        ("He will see it now", "He will see it not"),
        ("Go left at two", "Go left at ten"),
    ],
)
def test_another_text_is_a_new_caption(before: str, after: str) -> None:
    """A change of the whole text, of a word or of a letter is a change of the caption."""
    assert not goes_on(over_moving_ground(before, 0), over_moving_ground(after, 7), UNSURE)


@pytest.mark.parametrize("lit", range(len(WORDS) - 1))
def test_a_box_that_moves_to_the_next_word_belongs_to_one_caption(lit: int) -> None:
    """The lit word grows and shifts the others, and it is still the same caption."""
    assert goes_on(karaoke(WORDS, lit), karaoke(WORDS, lit + 1), SURE)


def test_a_box_that_has_moved_before_moves_on_again() -> None:
    """The network may not have seen the box's last step, so the pictures before a boundary may show two words lit in turn."""
    steps = [karaoke(WORDS, lit) for lit in range(4)]
    before, after = (
        [Moment(moment.start + 6 / RATE * step, moment.luma) for step in two for moment in steps[step]] for two in ((0, 1), (2, 3))
    )
    assert goes_on(before, after, SURE)


def beside_a_shape(words: Sequence[str]) -> list[Moment]:
    """A film of four pictures a second, in which a light shape moves between a word and another one, which changes after three."""
    drawn = []
    for number, left in enumerate((300, 340, 380, 520, 560, 600)):
        picture = Image.new("L", (960, 96), 20)
        draw = ImageDraw.Draw(picture)
        draw.rectangle((left, 20, left + 140, 76), fill=200)
        for word, x, side in ((words[0], 40, "lm"), (words[1 + number // 3], 920, "rm")):
            draw.text((x, 48), word, 255, ImageFont.load_default(44), anchor=side)
        drawn.append(picture)
    return [Moment(number / 4, moment.luma) for number, moment in enumerate(moments(drawn))]


def test_a_shape_that_moves_through_a_film_of_few_pictures_is_no_box() -> None:
    """One picture does not show what moves, so three are compared, even if they are farther apart than usual."""
    slow = beside_a_shape(["Nobody", "river", "liver"])
    assert goes_on(slow[2:3], slow[3:4], SURE)  # as if the shape were a box that moves on to the next word
    assert not goes_on(slow[:3], slow[3:], SURE)


def test_a_shape_without_letters_is_no_box() -> None:
    """Where there are no letters at all, nothing goes on, and nothing fails."""
    bare = beside_a_shape(["", "", ""])
    assert not goes_on(bare[2:3], bare[3:4], SURE)


def test_a_box_on_the_next_line_s_first_word_begins_a_new_caption() -> None:
    """From a line's last word the box moves to the first word of the next line, far away."""
    assert not goes_on(karaoke(WORDS, len(WORDS) - 1), karaoke(["Nobody", "has", "seen", "the", "water"], 0), SURE)


def test_a_box_on_a_line_of_another_length_belongs_to_another_caption() -> None:
    """A neighbouring box is not enough: the line has to keep its place."""
    assert not goes_on(karaoke(WORDS, 1), karaoke(["Nobody", "has", "seen"], 2), SURE)


def test_without_pictures_nothing_goes_on() -> None:
    """With pictures on one side only, the network's label is kept."""
    assert not goes_on(karaoke(WORDS, 1), [], SURE)
