"""Traits of synthetic clips that are hard in real films: words lit in turn, slow fades, strips far too high, letter-like backgrounds."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from core.types import Anchor
from training.synthetic.clip import Clip, Stage, make_clip
from training.synthetic.ground import Shot, Take
from training.synthetic.highlight import Light, LitWords, draw_lit, pick_light
from training.synthetic.kinds import RECIPES, Kind, Recipe
from training.synthetic.lettering import WHITE, Style
from training.synthetic.lookalikes import figures, lights, seats
from training.synthetic.scenery import put_poster, put_watermark
from training.synthetic.styles import shrink
from training.synthetic.timeline import Caption, write_timeline
from training.synthetic.words import Line, Script, vocabulary

WIDTH, HEIGHT = 400, 40
LUMA = np.array([0.299, 0.587, 0.114])


@pytest.fixture
def style(stage: Stage) -> Style:
    """One row in the middle of a strip, white without an outline."""
    face = stage.shelf.pick(np.random.default_rng(0), Script.LATIN)
    return Style(face, Anchor.CENTER, WHITE, (5.0, 5.0, 5.0), 1, 1.0, 0.6, 0.0, 0.2, 0.0, 0.0, 0.0, 1.0)


def test_words_are_lit_in_reading_order_until_the_caption_ends(style: Style) -> None:
    """Each word of each line is lit once, in order; only before the first one may no word be lit."""
    caption = Caption((Line(Script.LATIN, ("one", "two")), Line(Script.LATIN, ("three",))), start=-3, stop=20, fade_in=0, fade_out=0)
    for seed in range(8):
        rng = np.random.default_rng(seed)
        words = LitWords(rng, caption, style, pick_light(rng, WHITE), WIDTH, HEIGHT)
        lit = [words.word(t) for t in range(caption.start, caption.stop)]
        assert [word for word in dict.fromkeys(lit) if word >= 0] == [0, 1, 2]
        assert lit == sorted(lit)
        assert lit[-1] == 2


def test_a_lit_word_grows_in_its_box_and_shifts_the_others(style: Style) -> None:
    """The lit word is taller, in its own colour and inside its box; the other words move apart and keep their size and colour."""
    line, red = Line(Script.LATIN, ("mmm", "mmm", "mmm")), (200.0, 0.0, 0.0)
    plain = draw_lit((line,), style, Light(1.4, red, (255.0, 255.0, 0.0)), -1, WIDTH, HEIGHT)
    grown = draw_lit((line,), style, Light(1.4, red, (255.0, 255.0, 0.0)), 1, WIDTH, HEIGHT)
    lit = (grown.colours == red).all(2) & (grown.lettering.fill > 0.5)
    rest = (grown.colours != red).any(2) & (grown.lettering.fill > 0.5)
    assert not plain.box.any()
    assert (grown.box[lit] == 1).all()
    assert (grown.box[rest] == 0).all()
    assert _rows(lit) > 1.2 * _rows(rest)
    assert _rows(rest) == pytest.approx(_rows(plain.lettering.fill > 0.5), abs=1)
    assert grown.lettering.left < plain.lettering.left
    assert grown.lettering.right > plain.lettering.right


def test_arabic_words_are_laid_out_and_lit_from_the_right(style: Style) -> None:
    """The first word of a line in a script that runs to the left is the rightmost one."""
    line = Line(Script.ARABIC, ("a", "b", "c"))
    first, last = (draw_lit((line,), style, Light(1.0, (255.0, 0.0, 0.0), (0.0, 0.0, 0.0)), word, WIDTH, HEIGHT).box for word in (0, 2))
    assert np.flatnonzero(first.any(0)).min() > np.flatnonzero(last.any(0)).max()


@pytest.mark.parametrize("fill", [WHITE, (10.0, 10.0, 10.0)])
def test_a_light_keeps_words_readable(fill: tuple[float, float, float]) -> None:
    """A lit word differs in luma from its box, and without one it is on the other words' side of mid-grey."""
    lights_seen = [pick_light(np.random.default_rng(seed), fill) for seed in range(60)]
    for light in lights_seen:
        luma = LUMA @ light.colour
        if light.box is None:
            assert (luma > 127) == (sum(fill) > 300)
        else:
            assert abs(luma - LUMA @ light.box) > 100
    assert {light.box is None for light in lights_seen} == {light.growth == 1.0 for light in lights_seen} == {True, False}


def test_slow_fades_take_most_of_a_second() -> None:
    """If the recipe says so, every fade takes between 0.6 and 1.2 seconds, at ten frames a second."""
    recipe = RECIPES[Kind.SLOW_FADES]
    for seed in range(20):
        captions = write_timeline(np.random.default_rng(seed), recipe, vocabulary(Script.LATIN, frozenset()), 1, 65)
        assert captions
        assert all(6 <= frames <= 12 for caption in captions for frames in (caption.fade_in, caption.fade_out))


def test_captions_are_small_in_a_tall_strip(stage: Stage) -> None:
    """In a strip far too high a caption's lines cover a third of the height at most, and an eighth or less in some clips."""
    recipe = replace(_latin(Kind.TALL_STRIPS), captionless=0.0, two_lines=0.0)
    shares = []
    for seed in range(10):
        clip = make_clip(np.random.default_rng(seed), recipe, stage, 8)
        shares += [_rows(cover > 0.5) / len(cover) for cover, number in zip(clip.cover, clip.caption, strict=True) if number]
    assert max(shares) < 1 / 3
    assert min(shares) < 1 / 8


def test_a_style_shrinks_with_the_room_for_its_rows(style: Style) -> None:
    """If a strip has room for four times as many rows, outline, shadow and margin shrink to a quarter, so that letters look the same."""
    small = shrink(replace(style, outline=0.08, shadow=0.04), 4)
    assert (small.rows, small.outline, small.shadow, small.margin) == pytest.approx((4, 0.02, 0.01, 0.05))
    assert small.line_share == style.line_share


@pytest.mark.parametrize("maker", [lights, seats, figures])
def test_lookalikes_have_edges_as_letters_do(maker: Callable[[np.random.Generator, int, int], Shot]) -> None:
    """Each letter-like background has strong edges in many of its rows, and the same seed draws the same background."""
    for seed in range(4):
        shot, again = (maker(np.random.default_rng(seed), 120, 600) for _ in range(2))
        np.testing.assert_array_equal(shot, again)
        assert shot.shape[1:] == (120, 600, 3)
        edges = np.abs(np.diff(shot[0].astype(int), axis=1)).max(2) > 12
        assert edges.any(1).mean() > 0.25


def test_figures_move() -> None:
    """Clothes move from frame to frame, unlike the ground of a photograph."""
    shot = figures(np.random.default_rng(1), 120, 600).astype(int)
    assert all(np.abs(after - before).max() > 30 for before, after in pairwise(shot))


def test_a_watermark_stays_and_is_faint_or_cut_off(stage: Stage) -> None:
    """A watermark changes every frame in the same way, and a strong one reaches the strip's upper or lower edge."""
    seen = 0
    for seed in range(20):
        strips = np.full((3, HEIGHT, WIDTH, 3), 120, np.uint8)
        put_watermark(np.random.default_rng(seed), strips, stage.shelf)
        np.testing.assert_array_equal(strips[0], strips[2])
        change = np.abs(strips[0].astype(int) - 120).max(2)
        seen += bool(change.any())
        if change.max() > 0.3 * 135:
            assert change[[0, -1]].max() == change.max()
    assert seen > 10


@pytest.mark.parametrize("moves", [False, True])
def test_a_poster_moves_or_reaches_the_edge_of_its_strip(stage: Stage, moves: bool) -> None:
    """A poster moves with its scene or by itself; one that rests reaches the strip's upper or lower edge, so that it is no caption."""
    seen = 0
    for seed in range(12):
        strips = np.full((6, HEIGHT, WIDTH, 3), 120, np.uint8)
        shift = np.stack([np.arange(6) * (4.0 if moves else 0.0), np.zeros(6)], 1)
        put_poster(np.random.default_rng(seed), Take(strips, shift, np.ones(6)), stage.shelf, Script.LATIN)
        changed = np.abs(strips.astype(int) - 120).max(3)
        seen += bool(changed.any())
        if (strips == strips[0]).all():
            assert not moves or not changed.any()
            assert not changed.any() or changed[0][[0, -1]].any()
    assert seen > 6


@pytest.mark.parametrize("kind", [Kind.LIT_WORDS, Kind.SLOW_FADES, Kind.TALL_STRIPS, Kind.LOOKALIKES])
def test_a_clip_shows_what_its_truth_says(stage: Stage, kind: Kind) -> None:
    """Frames with a caption have covered pixels, frames without one have hardly any, and the same seed draws the same clip."""
    for seed in range(4):
        clip, again = (make_clip(np.random.default_rng(seed), _latin(kind), stage, 24) for _ in range(2))
        np.testing.assert_array_equal(clip.strips, again.strips)
        covered = clip.cover.reshape(24, -1).max(1)
        assert (covered[clip.caption > 0] > 0.2).all()
        assert (clip.visibility[clip.caption == 0] < 0.5).all()
        assert (covered[clip.visibility == 0] == 0).all()


def test_a_word_that_is_lit_makes_no_new_caption(stage: Stage) -> None:
    """The pictures of a caption change as its words are lit, but its number stays the same."""
    recipe = replace(_latin(Kind.LIT_WORDS), captionless=0.0, words=(4, 4), caption_frames=(24, 24))
    clip: Clip = make_clip(np.random.default_rng(3), recipe, stage, 24)
    longest = int(np.bincount(clip.caption)[1:].argmax()) + 1
    covers = clip.cover[clip.caption == longest]
    assert len(covers) >= 12
    assert sum(bool((before != after).any()) for before, after in pairwise(covers)) >= 2


def _latin(kind: Kind) -> Recipe:
    return replace(RECIPES[kind], scripts=(Script.LATIN,))


def _rows(mask: np.ndarray) -> int:
    written = np.flatnonzero(mask.any(1))
    return int(written[-1] - written[0] + 1)
