"""How the built-in model is measured, and how its training draws clips, labels pairs and stores weights."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from core.labels import DIFFERENT, EMPTY_EMPTY, EMPTY_VALID, SAME, VALID_EMPTY
from core.types import LABELS
from inference.architectures.siamese_strip import SiameseStrip
from inference.engine.predictor import EngineOptions, Probabilities
from inference.models.builtin import builtin_checkpoint_path
from inference.models.checkpoint import read_checkpoint
from inference.models.loading import load_predictor
from training.batch_norms import merge_batch_norms, restore_batch_norms
from training.batches import HardExampleSampler, label_pairs
from training.evaluate import KnownClip, evaluate, extents, judge
from training.synthetic.kinds import Kind


def test_labels_follow_from_the_captions_of_two_frames() -> None:
    """Each of the five relations between two frames' captions has its own label."""
    before, after = np.array([0, 0, 2, 2, 2]), np.array([0, 1, 0, 2, 3])
    assert label_pairs(before, after).tolist() == [EMPTY_EMPTY, EMPTY_VALID, VALID_EMPTY, SAME, DIFFERENT]


def test_counting_tolerates_one_frame() -> None:
    """Scoring distinguishes a caption found exactly, one frame late and two frames late."""
    caption = np.zeros(40, np.int64)
    caption[4:10], caption[14:20], caption[24:30] = 1, 2, 3
    predicted = np.zeros(40, np.int64)
    predicted[4:10], predicted[15:20], predicted[26:30] = 1, 2, 3
    clip = KnownClip(Kind.LATIN, np.zeros((40, 20, 20, 3), np.uint8), caption, (caption > 0).astype(np.float32))
    tally = judge(clip, _certain(predicted))
    assert (tally.captions, tally.captions_found, tally.captions_exact) == (3, 2, 1)
    assert (tally.boundaries_true, tally.boundaries_said, tally.boundaries_matched) == (6, 6, 5)
    assert tally.pairs == 39
    assert tally.pairs_right == 39 - 2 - 3  # pairs in which a frame's caption was missed
    assert judge(clip, _certain(caption)).captions_exact == 3


def test_only_the_kinds_of_the_clips_are_measured() -> None:
    """An evaluation has one row for each kind of clip that it was given, with the counts of that kind added up."""
    empty = np.zeros(5, np.int64)
    clips = [
        KnownClip(kind, np.zeros((5, 20, 200, 3), np.uint8), empty, empty.astype(np.float32)) for kind in (*2 * (Kind.CUTS,), Kind.THIN)
    ]
    tallies = evaluate(load_predictor(builtin_checkpoint_path(), EngineOptions()), clips)
    assert {kind: tally.pairs for kind, tally in tallies.items()} == {Kind.CUTS: 8, Kind.THIN: 4}


def test_pairs_whose_truth_is_in_doubt_are_left_out() -> None:
    """Pairs with a half-visible caption count only among the strict pairs."""
    caption = np.repeat([0, 1], 5)
    visibility = np.array([0, 0, 0, 0.2, 0.4, 0.6, 0.8, 1, 1, 1], np.float32)
    tally = judge(KnownClip(Kind.FADES, np.zeros((10, 20, 20, 3), np.uint8), caption, visibility), _certain(caption))
    assert (tally.pairs, tally.pairs_strict) == (9 - 3, 9)


def test_a_caption_of_which_only_a_fade_is_seen_need_not_be_found() -> None:
    """A caption that is still fading in when the clip ends does not count as missed, because it may never have appeared in full."""
    caption = np.array([1] * 10 + [0] * 10 + [2] * 2)
    visibility = np.array([1] * 10 + [0] * 10 + [0.5, 0.75], np.float32)
    clip = KnownClip(Kind.FADES, np.zeros((22, 20, 20, 3), np.uint8), caption, visibility)
    tally = judge(clip, _certain(np.where(caption == 2, 0, caption)))
    assert (tally.captions, tally.captions_found, tally.captions_exact) == (1, 1, 1)
    assert (tally.boundaries_true, tally.boundaries_matched) == (2, 1)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30))
def test_extents_cover_the_frames_with_captions(numbers: list[int]) -> None:
    """Extents cover exactly the frames that have a caption, and each covers one caption."""
    caption = np.array(numbers)
    ranges = extents(caption)
    covered = np.zeros(len(caption), bool)
    for first, last in ranges:
        assert len(set(numbers[first : last + 1])) == 1
        covered[first : last + 1] = True
    np.testing.assert_array_equal(covered, caption > 0)


def test_contrast_orders_pairs_as_batches_label_them() -> None:
    """Pairs are ordered by stride and then by run, all forward before all backward."""
    torch.manual_seed(0)
    network = SiameseStrip().eval()
    runs = torch.randn(2, 5, 64, 4, 64)
    with torch.inference_mode():
        contrasts = network.contrast(runs, strides=(1, 3))
        expected = []
        for stride in (1, 3):
            pairs = [
                network.contrast(runs[run : run + 1, [t, t + stride]]) for run in range(2) for t in range(5 - stride)
            ]  # (2, 80, 4, 32) each
            expected += [pair[way] for way in range(2) for pair in pairs]
    torch.testing.assert_close(contrasts, torch.stack(expected), atol=1e-5, rtol=1e-5)


def test_merging_batch_norms_changes_nothing() -> None:
    """The stored network, with batch norms merged, computes the same as the trained one."""
    torch.manual_seed(0)
    trained = SiameseStrip(norm=True).eval()
    for module in trained.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and module.running_var is not None:
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
    canvases = torch.rand(4, 3, 32, 512) * 2 - 1
    with torch.inference_mode():
        torch.testing.assert_close(merge_batch_norms(trained)(canvases), trained(canvases), atol=1e-4, rtol=1e-4)


def test_stored_weights_can_be_trained_on() -> None:
    """Stored weights with batch norms restored compute the same as before, on other frames too, and merge back to the same."""
    stored = SiameseStrip().eval()
    stored.load_state_dict(dict(read_checkpoint(builtin_checkpoint_path()).state))
    torch.manual_seed(0)
    runs, canvases = torch.rand(3, 5, 3, 32, 512) * 2 - 1, torch.rand(4, 3, 32, 512) * 2 - 1
    restored = restore_batch_norms(stored, runs).eval()
    assert any(isinstance(module, nn.BatchNorm2d) for module in restored.modules())
    with torch.inference_mode():
        expected = stored(canvases)
        torch.testing.assert_close(restored(canvases), expected, atol=1e-4, rtol=0)
        torch.testing.assert_close(merge_batch_norms(restored)(canvases), expected, atol=1e-4, rtol=0)


def test_restored_norms_are_those_of_the_frames_given() -> None:
    """Restored norms hold the mean and deviation of the given frames, so that training mode computes the same on them."""
    torch.manual_seed(0)
    runs = torch.rand(3, 5, 3, 32, 512) * 2 - 1
    network = restore_batch_norms(SiameseStrip().eval(), runs)
    with torch.inference_mode():
        kept, own = network.eval().encode(runs.flatten(0, 1)), network.train().encode(runs.flatten(0, 1))
    torch.testing.assert_close(kept, own, atol=1e-3, rtol=1e-3)


def test_clips_are_drawn_once_each_and_then_by_how_wrong_the_network_was() -> None:
    """Each clip is drawn once at first; later a clip with a high loss is drawn more often, and the others still are."""
    clips = np.arange(5, 405, 5)
    sampler = HardExampleSampler(clips, np.random.default_rng(0))
    first = np.concatenate([sampler.draw(8) for _ in range(10)])
    np.testing.assert_array_equal(np.sort(first), clips)
    sampler.record_losses(clips, np.where(clips == 100, 1.0, 0.0))
    later = np.concatenate([sampler.draw(8) for _ in range(200)])
    times = np.bincount(later, minlength=405)[clips]
    assert times[clips == 100] > 3 * times[clips != 100].max()
    assert (times > 0).all()


def _certain(caption: np.ndarray) -> Probabilities:
    """Give probability 1 to the labels of these captions."""
    before, after = caption[:-1], caption[1:]
    return np.eye(len(LABELS), dtype=np.float32)[np.stack([label_pairs(before, after), label_pairs(after, before)], 1)]
