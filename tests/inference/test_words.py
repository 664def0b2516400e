"""Captions get their words from readings of stills or from a transcript; equal neighbours are merged."""

from dataclasses import replace

import numpy as np
import pytest

from core.captions import CaptionExtent
from core.errors import PermanentError
from inference.finding.found import FoundCaption
from inference.finding.stills import Still
from inference.finding.words import add_readings, add_transcript, merge_equal, read_transcript
from inference.reading.reader import Reading

NOTHING = np.zeros((1, 1, 3), np.uint8)


def caption(first: int, last: int, text: str | None = None, confidence: float = 0.9) -> FoundCaption:
    return FoundCaption("bottom", first / 10, (last + 1) / 10, CaptionExtent(first, last, 0.9, 0.9, confidence), None, text, 0.9)


def reading(first: int, last: int, text: str) -> tuple[Still, Reading]:
    return Still(first, last, NOTHING), Reading(text, 0.95)


def test_each_caption_has_the_words_of_the_still_that_it_shares_most_with() -> None:
    """A caption takes the words of the still that overlaps it most, even if their frames differ."""
    captions = add_readings([caption(0, 9), caption(12, 30)], [reading(0, 10, "one"), reading(11, 29, "two"), reading(31, 40, "none")])
    assert [c.text for c in captions] == ["one", "two"]
    assert captions[0].text_confidence == 0.95


def test_a_caption_that_nothing_was_read_from_stays_without_words() -> None:
    """An empty reading gives a caption no text."""
    assert add_readings([caption(0, 9)], [reading(0, 9, "")])[0].text is None


def test_neighbours_that_read_the_same_are_one_caption() -> None:
    """Adjacent captions that read the same are merged, with the lowest confidence of the parts."""
    parts = [caption(0, 9, "Sing along with me now"), caption(10, 19, "sing along with  me now", 0.6), caption(20, 29, "Another line")]
    first, second = merge_equal(parts)
    assert (first.first_frame, first.last_frame, first.extent.confidence) == (0, 19, 0.6)
    assert second.text == "Another line"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (caption(0, 9, "No."), caption(10, 19, "Now.")),
        (caption(0, 9, "The train leaves at seven in the morning."), caption(10, 19, "The train leaves at eleven in the morning.")),
        (caption(0, 9, "Yes"), caption(15, 24, "Yes")),
        (caption(0, 9, None), caption(10, 19, None)),
    ],
)
def test_others_stay_apart(before: FoundCaption, after: FoundCaption) -> None:
    """Captions are not merged if their words differ by a letter, if a gap separates them, or if nothing was read."""
    assert len(merge_equal([before, after])) == 2


def test_a_transcript_is_a_line_a_caption() -> None:
    """Each line of a transcript belongs to one caption; empty lines and doubtful captions are skipped; a wrong count is rejected."""
    lines = read_transcript("First\n\n Second\\nline \n")
    doubtful = replace(caption(5, 6), doubt="weak")
    captions = add_transcript([caption(0, 4), doubtful, caption(7, 9)], lines)
    assert [c.text for c in captions] == ["First", None, "Second\nline"]
    with pytest.raises(PermanentError, match="the transcript has 1 line for 2 captions"):
        add_transcript([caption(0, 4), caption(7, 9)], ["First"])
