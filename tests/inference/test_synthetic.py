"""The clips that the built-in model is trained and measured on, and their truth."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.labels import DIFFERENT, EMPTY_VALID, VALID_EMPTY
from training.batches import label_pairs
from training.synthetic.boxes import Boxes
from training.synthetic.clip import Clip, Stage, legible, make_clip
from training.synthetic.codec import readable, store, through_chunks
from training.synthetic.ground import TRAINING_PHOTOS, Motion, Take, film, load_photo
from training.synthetic.kinds import PLAIN, RECIPES, Kind
from training.synthetic.lettering import Lettering
from training.synthetic.scenery import put_sign
from training.synthetic.timeline import Caption, write_timeline
from training.synthetic.words import Line, Script, vocabulary


def test_a_fade_is_one_beginning_and_one_end() -> None:
    """A caption that fades in and out has one empty_valid and one valid_empty label, however many frames the fades take."""
    caption = Caption((Line(Script.LATIN, ("so",)),), start=3, stop=20, fade_in=5, fade_out=4)
    visibility = np.array([caption.visibility(t) for t in range(24)])
    present = (visibility >= 0.5).astype(int)
    labels = label_pairs(present[:-1], present[1:]).tolist()
    assert (np.diff(visibility[:10]) >= 0).all()
    assert (np.diff(visibility[10:]) <= 0).all()
    assert labels.count(EMPTY_VALID) == labels.count(VALID_EMPTY) == 1
    assert DIFFERENT not in labels


@given(seed=st.integers(0, 2**32), script=st.sampled_from(Script), ending_only=st.booleans())
def test_one_word_is_changed(seed: int, script: Script, *, ending_only: bool) -> None:
    """The line differs from the one before in exactly one word; if only its ending changes, the first half stays."""
    rng = np.random.default_rng(seed)
    words = vocabulary(script, frozenset("qé的かا나и"))
    line = words.line(rng)
    changed = words.with_one_word_changed(rng, line, ending_only=ending_only)
    assert not set(line.text + changed.text) & set("qé的かا나и")
    ((old, new),) = ((a, b) for a, b in zip(line.words, changed.words, strict=True) if a != b)
    assert not ending_only or new[: len(old) // 2] == old[: len(old) // 2]


@given(seed=st.integers(0, 2**32), script=st.sampled_from(Script))
def test_captions_that_follow_change_by_an_ending_where_the_recipe_says_so(seed: int, script: Script) -> None:
    """If the recipe says so, consecutive captions differ in one word of one line, whose first half stays."""
    recipe = replace(PLAIN, words=(2, 3), follow=1.0, one_word=1.0, ending=1.0, fade=0.0)
    captions = write_timeline(np.random.default_rng(seed), recipe, vocabulary(script, frozenset()), 1, 65)
    for before, after in pairwise(captions):
        ((old, new),) = ((a, b) for a, b in zip(before.lines[0].words, after.lines[0].words, strict=True) if a != b)
        assert new[: len(old) // 2] == old[: len(old) // 2]


@given(seed=st.integers(0, 2**32), script=st.sampled_from(Script))
def test_lines_have_as_many_words_as_their_recipe_says(seed: int, script: Script) -> None:
    """Every line of every caption has as many words as its recipe says, new or with one word changed."""
    recipe = replace(PLAIN, words=(2, 3), one_line=0.0, extend=0.0)
    captions = write_timeline(np.random.default_rng(seed), recipe, vocabulary(script, frozenset()), 2, 65)
    assert {len(line.words) for caption in captions for line in caption.lines} <= {2, 3}


@pytest.mark.parametrize(
    ("ground", "levels", "expected"),
    [("calm", 60, True), ("calm", 30, False), ("slope", 60, True), ("faint noise", 60, True), ("strong noise", 60, False)],
)
def test_letters_are_read_where_the_ground_s_detail_is_weaker(ground: str, levels: float, expected: bool) -> None:
    """Letters count as legible if they have enough contrast, and only detail as fine as theirs can hide them."""
    height, width = 40, 320
    pictures = {
        "calm": np.zeros((height, width)),
        "slope": np.linspace(-60, 60, width)[None].repeat(height, 0),
        "faint noise": np.random.default_rng(1).normal(0, 10, (height, width)),
        "strong noise": np.random.default_rng(1).normal(0, 45, (height, width)),
    }
    before = np.float32(100) + pictures[ground][..., None].repeat(3, 2).astype(np.float32)
    fill = np.zeros((height, width), np.float32)
    fill[10:30, 40:280] = np.arange(240) % 8 < 4
    after = before + np.float32(levels) * fill[..., None]
    assert legible(before, after, Lettering(fill, np.zeros_like(fill), 40, 280), least_contrast=42) is expected


@pytest.mark.parametrize("pixels", [0, 1])
def test_letters_of_which_hardly_a_pixel_is_in_the_strip_are_not_read(pixels: int) -> None:
    """Letters with hardly one pixel in the strip are not legible, however strong that pixel is."""
    fill = np.zeros((20, 200), np.float32)
    fill[10, 100 : 100 + pixels] = 0.9
    before = np.zeros((20, 200, 3), np.float32)
    after = before + 255 * fill[..., None]
    assert not legible(before, after, Lettering(fill, np.zeros_like(fill), 100, 100 + pixels), least_contrast=22)


@pytest.mark.parametrize("first_frame", [0, 5, 16])
def test_chunks_keep_the_order_of_frames(first_frame: int) -> None:
    """A stored frame is read back at its own place, whichever level held it."""
    strips = np.empty((21, 20, 64, 3), np.uint8)
    strips[:] = np.linspace(20, 230, 21).round()[:, None, None, None]
    stored = through_chunks(strips, first_frame, quality=30)
    np.testing.assert_allclose(stored.mean((1, 2, 3)), strips.mean((1, 2, 3)), atol=4)  # neighbours are 10 apart


@pytest.fixture(scope="module")
def clip(stage: Stage) -> Clip:
    """Faint captions with gaps between them, to be stored at the worst quality."""
    recipe = replace(
        RECIPES[Kind.LATIN],
        scripts=(Script.LATIN,),
        captionless=0.0,
        follow=0.0,
        fade=0.0,
        low_contrast=1.0,
        caption_frames=(4, 8),
        quality=(63, 63),
    )
    return make_clip(np.random.default_rng(0), recipe, stage, 24)


def test_a_caption_that_the_codec_wipes_out_or_leaves_behind_is_noticed(clip: Clip) -> None:
    """A clip is readable as drawn, but not without its letters in a frame, nor with letters in a frame that should have none."""
    with_caption, without = (int(np.flatnonzero(clip.visibility == visibility)[0]) for visibility in (1.0, 0.0))
    assert readable(clip, clip.strips)
    wiped = clip.strips.copy()
    wiped[with_caption] = clip.bare[with_caption]
    assert not readable(clip, wiped)
    near = int(np.flatnonzero(clip.caption)[np.abs(np.flatnonzero(clip.caption) - without).argmin()])
    left = clip.strips.astype(np.int16)
    left[without] += left[near] - clip.bare[near]
    assert not readable(clip, left.clip(0, 255).astype(np.uint8))


def test_what_would_be_wiped_out_is_stored_at_a_better_quality(clip: Clip) -> None:
    """A clip that the worst quality makes unreadable is stored at a better one."""
    assert not readable(clip, through_chunks(clip.strips, 0, clip.quality))
    assert readable(clip, store(clip, 0))


@pytest.mark.parametrize("kind", [Kind.LATIN, Kind.FADES, Kind.BOXES, Kind.RECOLOUR, Kind.SMALL])
def test_a_clip_shows_what_its_truth_says(stage: Stage, kind: Kind) -> None:
    """Frames with a caption have covered pixels, frames without one have hardly any, and the same seed draws the same clip."""
    recipe = replace(RECIPES[kind], scripts=(Script.LATIN,))
    for seed in range(4):
        clip, again = (make_clip(np.random.default_rng(seed), recipe, stage, 24) for _ in range(2))
        np.testing.assert_array_equal(clip.strips, again.strips)
        covered = clip.cover.reshape(24, -1).max(1)
        assert (covered[clip.caption > 0] > 0.2).all()
        assert (clip.visibility[clip.caption == 0] < 0.5).all()
        assert (covered[clip.visibility == 0] == 0).all()


def test_a_caption_s_own_box_ends_a_little_beyond_its_letters() -> None:
    """A caption's box extends beyond its letters at both sides, and above and below unless it is as high as the strip."""
    letters = np.zeros((30, 100), np.float32)
    letters[10:20, 40:60] = 1
    lettering, caption = Lettering(letters, letters, 40, 60), Caption((), 0, 2, 0, 0)
    for pad_rows, rows in ((3, slice(7, 23)), (None, slice(0, 30))):
        pictures = np.zeros((3, 30, 100, 3), np.float32)
        Boxes((90.0, 90.0, 90.0), 1.0, None, 0, 0, 5, pad_rows).put(pictures, [caption], [lettering])
        expected = np.zeros((30, 100), bool)
        expected[rows, 35:65] = True
        np.testing.assert_array_equal(pictures[0, ..., 0] == 90, expected)
        assert not pictures[2].any()


@pytest.mark.parametrize("motion", Motion)
def test_a_camera_says_where_things_went(motion: Motion) -> None:
    """In each frame a mark in the shot is where its first position, the shift and the zoom put it."""
    shot = np.zeros((1, 200, 600, 3), np.uint8)
    y, x = np.mgrid[:200, :600]
    shot[0, np.hypot(x - 300, y - 100) < 8] = 255
    for seed in range(20):
        take = film(np.random.default_rng(seed), shot, 0.0, motion, 12, 40, 300)
        seen = [np.argwhere(strip[..., 0] > 127) for strip in take.strips]
        inside = [len(places) > 30 and places.min() > 0 and places[:, 0].max() < 39 and places[:, 1].max() < 299 for places in seen]
        if not inside[0]:
            continue
        at = seen[0].mean(0)[::-1] + 0.5
        for t in np.flatnonzero(inside):
            np.testing.assert_allclose(seen[t].mean(0)[::-1] + 0.5, take.shift[t] + take.zoom[t] * at, atol=1)
        break
    else:
        pytest.fail("no camera saw the mark")


def test_a_sign_goes_where_its_scene_goes(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sign that does not move by itself moves exactly as its scene."""
    monkeypatch.setattr("training.synthetic.scenery._DRIVEN_SHARE", 0.0)
    n = 8
    shift = np.stack([np.linspace(0, 21, n), np.zeros(n)], 1)
    take = Take(np.zeros((n, 60, 600, 3), np.uint8), shift, np.ones(n))
    put_sign(np.random.default_rng(1), take, stage.shelf, Script.LATIN)
    left = [int(np.flatnonzero(strip.any((0, 2)))[0]) for strip in take.strips]
    assert left[0] > 0
    np.testing.assert_allclose(np.subtract(left, left[0]), shift[:, 0], atol=1)


@pytest.mark.parametrize("seed", range(4))
def test_a_sign_may_be_far_wider_than_its_strip(stage: Stage, seed: int) -> None:
    """A sign far wider than its strip is still partly visible."""
    take = Take(np.zeros((1, 40, 24, 3), np.uint8), np.zeros((1, 2)), np.ones(1))
    put_sign(np.random.default_rng(seed), take, stage.shelf, Script.LATIN)
    assert take.strips.any()


@pytest.mark.parametrize("name", TRAINING_PHOTOS)
def test_photographs_are_there(name: str) -> None:
    """Each photograph has one frame of three channels, is large enough for a camera to move in, and has more than one shade."""
    shot = load_photo(name)
    assert shot.shape[0] == 1
    assert shot.shape[3] == 3
    assert min(shot.shape[1:3]) > 200
    assert max(shot.shape[1:3]) <= 640
    assert shot.std() > 5
