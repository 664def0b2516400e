"""What the built-in model is trained and measured on: the truth that clips carry, and how it is counted."""

import importlib.util
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from core.captions import DIFFERENT, EMPTY_EMPTY, EMPTY_VALID, SAME, VALID_EMPTY
from core.types import LABELS
from inference.architectures.builtin import SiameseStrip
from inference.builtin import builtin_checkpoint_path
from inference.checkpoint import read_checkpoint
from inference.predictor import Probabilities
from inference.synthetic.boxes import Boxes
from inference.synthetic.clip import Clip, Stage, legible, make_clip
from inference.synthetic.codec import readable, store, through_chunks
from inference.synthetic.fonts import FontShelf
from inference.synthetic.ground import TRAINING_PHOTOS, TRAINING_SHOTS, Motion, Take, film, load_photo
from inference.synthetic.kinds import PLAIN, RECIPES, Kind
from inference.synthetic.lettering import Lettering
from inference.synthetic.scenery import put_sign
from inference.synthetic.timeline import Caption, write_timeline
from inference.synthetic.words import Line, Script, vocabulary
from inference.training.batches import Lottery, label_pairs
from inference.training.evaluate import KnownClip, extents, judge
from inference.training.folding import fold, unfold


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """Made textures and footage behind letters of one Latin face."""
    root = tmp_path_factory.mktemp("fonts")
    files = root / "node_modules" / "@fontsource" / "plain" / "files"
    files.mkdir(parents=True)
    spec = importlib.util.find_spec("font_source_sans_pro")
    assert spec is not None
    assert spec.origin is not None
    face = Path(spec.origin).parent / "files" / "SourceSansPro-Regular.ttf"
    shutil.copyfile(face, files / "plain-latin-400-normal.woff2")  # FreeType goes by content, not by name
    return Stage(FontShelf(root, {Script.LATIN: "plain"}), TRAINING_SHOTS, footage_share=0.3)


def test_a_fade_is_one_beginning_and_one_end() -> None:
    """However many frames a caption takes to appear, its labels are one empty_valid, all same, one valid_empty."""
    caption = Caption((Line(Script.LATIN, ("so",)),), start=3, stop=20, fade_in=5, fade_out=4)
    visibility = np.array([caption.visibility(t) for t in range(24)])
    present = (visibility >= 0.5).astype(int)
    labels = label_pairs(present[:-1], present[1:]).tolist()
    assert (np.diff(visibility[:10]) >= 0).all()
    assert (np.diff(visibility[10:]) <= 0).all()
    assert labels.count(EMPTY_VALID) == labels.count(VALID_EMPTY) == 1
    assert DIFFERENT not in labels


def test_labels_follow_from_the_captions_of_two_frames() -> None:
    """All five cases of two frames' captions."""
    before, after = np.array([0, 0, 2, 2, 2]), np.array([0, 1, 0, 2, 3])
    assert label_pairs(before, after).tolist() == [EMPTY_EMPTY, EMPTY_VALID, VALID_EMPTY, SAME, DIFFERENT]


@given(seed=st.integers(0, 2**32), script=st.sampled_from(Script))
def test_one_word_is_changed(seed: int, script: Script) -> None:
    """The line differs from the one before in exactly one word."""
    rng = np.random.default_rng(seed)
    words = vocabulary(script, frozenset("qé的かا나и"))
    line = words.line(rng)
    changed = words.with_one_word_changed(rng, line)
    assert not set(line.text + changed.text) & set("qé的かا나и")
    assert sum(a != b for a, b in zip(line.words, changed.words, strict=True)) == 1


@given(seed=st.integers(0, 2**32), script=st.sampled_from(Script))
def test_lines_have_as_many_words_as_their_recipe_says(seed: int, script: Script) -> None:
    """Every line of every caption, new or with a word of it changed, as long as none is added."""
    recipe = replace(PLAIN, words=(2, 3), one_line=0.0, extend=0.0)
    captions = write_timeline(np.random.default_rng(seed), recipe, vocabulary(script, frozenset()), 2, 65)
    assert {len(line.words) for caption in captions for line in caption.lines} <= {2, 3}


@pytest.mark.parametrize(
    ("ground", "levels", "said"),
    [("calm", 60, True), ("calm", 30, False), ("slope", 60, True), ("faint noise", 60, True), ("strong noise", 60, False)],
)
def test_letters_are_read_where_the_ground_s_detail_is_weaker(ground: str, levels: float, said: bool) -> None:
    """Letters that are some levels lighter than their ground; only what is as fine as they are can hide them."""
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
    assert legible(before, after, Lettering(fill, np.zeros_like(fill), 40, 280), least_contrast=42) is said


@pytest.mark.parametrize("pixels", [0, 1])
def test_letters_of_which_hardly_a_pixel_is_in_the_strip_are_not_read(pixels: int) -> None:
    fill = np.zeros((20, 200), np.float32)
    fill[10, 100 : 100 + pixels] = 0.9
    before = np.zeros((20, 200, 3), np.float32)
    after = before + 255 * fill[..., None]
    assert not legible(before, after, Lettering(fill, np.zeros_like(fill), 100, 100 + pixels), least_contrast=22)


@pytest.mark.parametrize("first_frame", [0, 5, 16])
def test_chunks_keep_the_order_of_frames(first_frame: int) -> None:
    """A frame comes out of storage in its own place, whichever level held it."""
    strips = np.empty((21, 20, 64, 3), np.uint8)
    strips[:] = np.linspace(20, 230, 21).round()[:, None, None, None]
    stored = through_chunks(strips, first_frame, quality=30)
    np.testing.assert_allclose(stored.mean((1, 2, 3)), strips.mean((1, 2, 3)), atol=4)  # neighbours are 10 apart


@pytest.fixture(scope="module")
def clip(stage: Stage) -> Clip:
    """Faint captions with gaps between them, to be stored at the worst quality there is."""
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
    """Stored as drawn a clip is readable; without its letters in a frame, or with letters in one that has none, it is not."""
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
    """The worst quality makes this clip unreadable, and it is not what the clip is stored at."""
    assert not readable(clip, through_chunks(clip.strips, 0, clip.quality))
    assert readable(clip, store(clip, 0))


@pytest.mark.parametrize("kind", [Kind.LATIN, Kind.FADES, Kind.BOXES, Kind.RECOLOUR, Kind.SMALL])
def test_a_clip_shows_what_its_truth_says(stage: Stage, kind: Kind) -> None:
    """Frames with a caption have covered pixels, frames without have hardly any, and the same seed draws the same clip."""
    recipe = replace(RECIPES[kind], scripts=(Script.LATIN,))
    for seed in range(4):
        clip, again = (make_clip(np.random.default_rng(seed), recipe, stage, 24) for _ in range(2))
        np.testing.assert_array_equal(clip.strips, again.strips)
        covered = clip.cover.reshape(24, -1).max(1)
        assert (covered[clip.caption > 0] > 0.2).all()
        assert (clip.visibility[clip.caption == 0] < 0.5).all()
        assert (covered[clip.visibility == 0] == 0).all()


def test_a_caption_s_own_box_ends_a_little_beyond_its_letters() -> None:
    """To the sides always; above and below where it is not as high as the strip."""
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
    """A mark in the shot is in each frame where the first frame's place of it, the shift and the zoom put it."""
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
    """One that does not move by itself stands still in the scene, whatever the camera does."""
    monkeypatch.setattr("inference.synthetic.scenery._DRIVEN_SHARE", 0.0)
    n = 8
    shift = np.stack([np.linspace(0, 21, n), np.zeros(n)], 1)
    take = Take(np.zeros((n, 60, 600, 3), np.uint8), shift, np.ones(n))
    put_sign(np.random.default_rng(1), take, stage.shelf, Script.LATIN)
    left = [int(np.flatnonzero(strip.any((0, 2)))[0]) for strip in take.strips]
    assert left[0] > 0
    np.testing.assert_allclose(np.subtract(left, left[0]), shift[:, 0], atol=1)


@pytest.mark.parametrize("name", TRAINING_PHOTOS)
def test_photographs_are_there(name: str) -> None:
    """One frame of three channels, large enough for a camera to move in, and not all of one shade."""
    shot = load_photo(name)
    assert shot.shape[0] == 1
    assert shot.shape[3] == 3
    assert min(shot.shape[1:3]) > 200
    assert max(shot.shape[1:3]) <= 640
    assert shot.std() > 5


def test_counting_tolerates_one_frame() -> None:
    """A caption found exactly, one a frame late and one two frames late are told apart."""
    caption = np.zeros(40, np.int64)
    caption[4:10], caption[14:20], caption[24:30] = 1, 2, 3
    said = np.zeros(40, np.int64)
    said[4:10], said[15:20], said[26:30] = 1, 2, 3
    clip = KnownClip(Kind.LATIN, np.zeros((40, 20, 20, 3), np.uint8), caption, (caption > 0).astype(np.float32))
    tally = judge(clip, _certain(said))
    assert (tally.captions, tally.captions_found, tally.captions_exact) == (3, 2, 1)
    assert (tally.boundaries_true, tally.boundaries_said, tally.boundaries_matched) == (6, 6, 5)
    assert tally.pairs == 39
    assert tally.pairs_right == 39 - 2 - 3  # those of which a frame's caption was missed
    assert judge(clip, _certain(caption)).captions_exact == 3


def test_pairs_whose_truth_is_in_doubt_are_left_out() -> None:
    """A half visible caption's pairs count among the strict ones alone."""
    caption = np.repeat([0, 1], 5)
    visibility = np.array([0, 0, 0, 0.2, 0.4, 0.6, 0.8, 1, 1, 1], np.float32)
    tally = judge(KnownClip(Kind.FADES, np.zeros((10, 20, 20, 3), np.uint8), caption, visibility), _certain(caption))
    assert (tally.pairs, tally.pairs_strict) == (9 - 3, 9)


def test_a_caption_of_which_only_a_fade_is_seen_need_not_be_found() -> None:
    """The clip ends while it is half visible: nobody can say whether it would have come."""
    caption = np.array([1] * 10 + [0] * 10 + [2] * 2)
    visibility = np.array([1] * 10 + [0] * 10 + [0.5, 0.75], np.float32)
    clip = KnownClip(Kind.FADES, np.zeros((22, 20, 20, 3), np.uint8), caption, visibility)
    tally = judge(clip, _certain(np.where(caption == 2, 0, caption)))
    assert (tally.captions, tally.captions_found, tally.captions_exact) == (1, 1, 1)
    assert (tally.boundaries_true, tally.boundaries_matched) == (2, 1)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30))
def test_extents_cover_the_frames_with_captions(numbers: list[int]) -> None:
    """Putting the extents back gives the frames that have a caption, each extent of one caption."""
    caption = np.array(numbers)
    found = extents(caption)
    covered = np.zeros(len(caption), bool)
    for first, last in found:
        assert len(set(numbers[first : last + 1])) == 1
        covered[first : last + 1] = True
    np.testing.assert_array_equal(covered, caption > 0)


def test_contrast_orders_pairs_as_batches_label_them() -> None:
    """Stride by stride, runs one after the other, all forward and then all backward."""
    torch.manual_seed(0)
    network = SiameseStrip().eval()
    runs = torch.randn(2, 5, 64, 4, 64)
    with torch.inference_mode():
        found = network.contrast(runs, strides=(1, 3))
        expected = []
        for stride in (1, 3):
            pairs = [
                network.contrast(runs[run : run + 1, [t, t + stride]]) for run in range(2) for t in range(5 - stride)
            ]  # (2, 80, 4, 32) each
            expected += [pair[way] for way in range(2) for pair in pairs]
    torch.testing.assert_close(found, torch.stack(expected), atol=1e-5, rtol=1e-5)


def test_folding_batch_norms_changes_nothing() -> None:
    """The stored network computes what the trained one did."""
    torch.manual_seed(0)
    trained = SiameseStrip(norm=True).eval()
    for module in trained.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and module.running_var is not None:
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
    canvases = torch.rand(4, 3, 32, 512) * 2 - 1
    with torch.inference_mode():
        torch.testing.assert_close(fold(trained)(canvases), trained(canvases), atol=1e-4, rtol=1e-4)


def test_stored_weights_can_be_trained_on() -> None:
    """With batch norms taken out of them they compute what they did, on other frames too, and fold back to it."""
    stored = SiameseStrip().eval()
    stored.load_state_dict(dict(read_checkpoint(builtin_checkpoint_path()).state))
    torch.manual_seed(0)
    runs, canvases = torch.rand(3, 5, 3, 32, 512) * 2 - 1, torch.rand(4, 3, 32, 512) * 2 - 1
    unfolded = unfold(stored, runs).eval()
    assert any(isinstance(module, nn.BatchNorm2d) for module in unfolded.modules())
    with torch.inference_mode():
        expected = stored(canvases)
        torch.testing.assert_close(unfolded(canvases), expected, atol=1e-4, rtol=0)
        torch.testing.assert_close(fold(unfolded)(canvases), expected, atol=1e-4, rtol=0)


def test_unfolded_norms_are_those_of_the_frames_given() -> None:
    """While training, a batch's own mean and deviation take the place of the kept ones: on those very frames they are the same."""
    torch.manual_seed(0)
    runs = torch.rand(3, 5, 3, 32, 512) * 2 - 1
    network = unfold(SiameseStrip().eval(), runs)
    with torch.inference_mode():
        kept, own = network.eval().encode(runs.flatten(0, 1)), network.train().encode(runs.flatten(0, 1))
    torch.testing.assert_close(kept, own, atol=1e-3, rtol=1e-3)


def test_clips_are_drawn_once_each_and_then_by_how_wrong_the_network_was() -> None:
    """No clip is left out at first; later a clip the network is wrong about comes more often than the others, which still come."""
    clips = np.arange(5, 405, 5)
    lottery = Lottery(clips, np.random.default_rng(0))
    first = np.concatenate([lottery.draw(8) for _ in range(10)])
    np.testing.assert_array_equal(np.sort(first), clips)
    lottery.tell(clips, np.where(clips == 100, 1.0, 0.0))
    later = np.concatenate([lottery.draw(8) for _ in range(200)])
    times = np.bincount(later, minlength=405)[clips]
    assert times[clips == 100] > 3 * times[clips != 100].max()
    assert (times > 0).all()


def _certain(caption: np.ndarray) -> Probabilities:
    """Probabilities of 1 for what these captions' numbers mean."""
    before, after = caption[:-1], caption[1:]
    return np.eye(len(LABELS), dtype=np.float32)[np.stack([label_pairs(before, after), label_pairs(after, before)], 1)]
