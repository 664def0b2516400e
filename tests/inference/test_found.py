"""What the network finds in a zone becomes captions, or doubtful ones where the film's own pictures contradict it."""

import numpy as np
import pytest

from core.labels import DIFFERENT, EMPTY_EMPTY, EMPTY_VALID, REVERSED, SAME, VALID_EMPTY
from inference.finding.found import are_convincing, captions_of
from inference.finding.track import Track
from inference.finding.zone import Zone
from inference.media.box import CropBox

CAPTION = [EMPTY_EMPTY] * 9 + [EMPTY_VALID] + [SAME] * 19 + [VALID_EMPTY] + [EMPTY_EMPTY] * 9  # samples 10 to 29
TWO_PARTS = [EMPTY_EMPTY] * 9 + [EMPTY_VALID] + [SAME] * 9 + [DIFFERENT] + [SAME] * 9 + [VALID_EMPTY] + [EMPTY_EMPTY] * 9


def track(labels: list[int], sure: float = 0.97, **more: object) -> Track:
    """The labels with a boundary's probability ``sure``, shown in both directions."""
    probabilities = np.full((len(labels), 2, 5), 0.0, np.float32)
    for pair, label in enumerate(labels):
        p = 1.0 if label in (SAME, EMPTY_EMPTY) else sure
        for direction, index in enumerate((label, REVERSED[label])):
            probabilities[pair, direction, index] = p
            probabilities[pair, direction, EMPTY_EMPTY] += 1 - p
    return Track(Zone("bottom", CropBox(0, 0, 64, 32)), probabilities, {}, 0.0, (len(labels) + 1) / 10, **more)  # type: ignore[arg-type]


def test_a_change_that_the_pictures_deny_joins_both_parts() -> None:
    """Where the pictures show that a caption continues, one caption is found instead of two, and it is as sure as its ends."""
    assert len(captions_of(track(TWO_PARTS))) == 2
    (caption,) = captions_of(track(TWO_PARTS, going_on=frozenset({19})))
    assert (caption.extent.first_frame, caption.extent.last_frame) == (10, 29)
    assert caption.extent.confidence == pytest.approx(0.97, abs=0.01)
    assert caption.doubt is None


@pytest.mark.parametrize(("cuts", "doubtful"), [((1.0, 3.0), True), ((1.0,), False), ((1.4, 2.6), False), ((), False)])
def test_what_begins_and_ends_with_the_whole_picture_has_to_be_surer(cuts: tuple[float, ...], doubtful: bool) -> None:
    """A weak caption between two cuts is doubtful; one end while the picture goes on is enough."""
    (caption,) = captions_of(track(CAPTION, 0.5, cuts=cuts))
    assert (caption.doubt is not None) is doubtful
    (sure,) = captions_of(track(CAPTION, 0.97, cuts=cuts))
    assert sure.doubt is None


def test_a_zone_whose_captions_come_only_with_cuts_has_to_be_surer() -> None:
    """Lettering in the scene comes and goes with its shots, so captions that do so count only if the network is quite sure."""
    assert are_convincing(captions_of(track(CAPTION, 0.85)))
    assert not are_convincing(captions_of(track(CAPTION, 0.85, cuts=(1.0, 3.0))))
    assert are_convincing(captions_of(track(CAPTION, 0.97, cuts=(1.0, 3.0))))
    assert not are_convincing([])


def test_a_caption_too_short_to_read_is_doubtful() -> None:
    """A caption of one sample in the middle of a film is doubtful, because nobody could read it."""
    (caption,) = captions_of(track([EMPTY_EMPTY] * 5 + [EMPTY_VALID, VALID_EMPTY] + [EMPTY_EMPTY] * 5))
    assert caption.doubt == "0.10 s is too short to read"
