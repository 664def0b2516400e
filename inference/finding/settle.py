"""Turns lines of letters found throughout a film into the zones of its captions, leaving out logos and texture."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from core.types import Anchor
from inference.finding.letters import Mask
from inference.finding.zone import Zone, name_zones
from inference.media.box import CropBox

_LEAST_PICTURES: Final = 2  # with letters at about the same rows
_LEAST_PART: Final = 0.15  # of the pictures with a zone's most frequent row, for the rows at its edge
_LEAST_RIVAL: Final = 0.15  # of the pictures of the most frequent zone, for another zone
_LEAST_WRITING: Final = 0.85  # the network's mean probability of letters for the lines of a zone
_LEAST_OVERLAP: Final = 0.6  # of the rows of two lines at the same place
_LEAST_RECURRENCE: Final = 0.2  # of the pictures with the most frequent place
_STANDING: Final = 0.75  # mean overlap of the strokes of two pictures, from which on they show the same writing
_LEAST_STANDING: Final = 3  # pictures
_LOGO: Final = 0.3  # share of the pictures in which a logo's zone shows its one text; it never shows another
_CONSTANT: Final = 0.75  # of a group's pictures, in which a logo looks the same over a moving background
_ONE_LINE: Final = (0.6, 1.4)  # of the usual height of a group's lines
_TWO_LINES: Final = (1.9, 3.0)  # of that height, if two lines touch; other heights are letters that run into texture
_ROWS: Final = 0.4  # of a line's height, above and below the outermost rows of letters
_COLUMNS: Final = 0.02  # of the picture's width, left and right of them
_ALIGNED: Final = 0.01  # of the picture's width, by which the aligned side of lines may vary


@dataclass(frozen=True, slots=True)
class Seen:
    """A line of letters in one of the pictures, in pixels of the film, with its strokes, by which two lines are compared."""

    picture: int
    box: CropBox
    strokes: Mask
    writing: float = 1.0  # how sure the network is that there are letters, 0..1


def settle(seen: Sequence[Seen], pictures: int, width: int, height: int) -> tuple[list[Zone], list[CropBox]]:
    """Return the zones from top to bottom, and the boxes of writing that never changes."""
    standing, changing = _apart(seen, pictures)
    groups = [group for group in _groups(_recurring(changing), height) if _pictures(group) >= min(_LEAST_PICTURES, pictures)]
    groups = [group for group in groups if np.mean([line.writing for line in group]) >= _LEAST_WRITING]
    most = max((_pictures(group) for group in groups), default=0)
    groups = [group for group in groups if _pictures(group) >= _LEAST_RIVAL * most]
    logos = _logos(groups, pictures)
    standing += [group[0].box for group in logos]
    groups = [group for group in groups if not any(group is logo for logo in logos)]
    boxes = [_bounds(group, width, height) for group in groups]
    zones = name_zones(boxes, [_anchor([line.box for line in group], width) for group in groups], height)
    return zones, standing


def _pictures(group: Sequence[Seen]) -> int:
    return len({line.picture for line in group})


def _recurring(seen: Sequence[Seen]) -> list[Seen]:
    """Return lines at whose rows other pictures have lines too: captions keep their place, but texture does not."""
    recurrence = [len({other.picture for other in seen if _overlap(line.box, other.box) >= _LEAST_OVERLAP}) for line in seen]
    least = _LEAST_RECURRENCE * max(recurrence, default=0)
    return [line for line, pictures in zip(seen, recurrence, strict=True) if pictures >= least]


def _overlap(box: CropBox, other: CropBox) -> float:
    """Return the share of the rows of either box that both cover."""
    shared = min(box.bottom, other.bottom) - max(box.top, other.top)
    return max(0, shared) / (max(box.bottom, other.bottom) - min(box.top, other.top))


def _apart(seen: Sequence[Seen], pictures: int) -> tuple[list[CropBox], list[Seen]]:
    """Separate boxes that show the same strokes in at least half of the pictures from all other lines."""
    standing: list[CropBox] = []
    rest: list[Seen] = list(seen)
    for line in seen:
        if any(line is other for other in rest):
            same = [other for other in rest if _same_writing(line, other)]
            if _pictures(same) >= max(_LEAST_STANDING, 0.5 * pictures):
                standing.append(line.box)
                rest = [other for other in rest if not any(other is twin for twin in same)]
    return standing, rest


def _logos(groups: Sequence[list[Seen]], pictures: int) -> list[list[Seen]]:
    """Return groups that show one text for long while others change: logos that move to another place now and then."""
    constant = [group for group in groups if _is_constant(group)]
    return [group for group in constant if len(constant) < len(groups) and _pictures(group) >= max(_LEAST_STANDING, _LOGO * pictures)]


def _is_constant(group: Sequence[Seen]) -> bool:
    """Whether a line is, on average, the same in nearly all of the group's pictures."""
    shared = [_pictures([other for other in group if _same_writing(line, other)]) for line in group]
    return float(np.mean(shared)) >= _CONSTANT * _pictures(group)


def _same_writing(line: Seen, other: Seen) -> bool:
    """Whether the strokes of two lines are at the same pixels of the picture. Their boxes may differ slightly."""
    step = max(1, round(line.box.height / len(line.strokes)))
    down, across = round((other.box.top - line.box.top) / step), round((other.box.left - line.box.left) / step)
    a, b = line.strokes[max(0, down) :, max(0, across) :], other.strokes[max(0, -down) :, max(0, -across) :]
    rows, columns = min(len(a), len(b)), min(a.shape[1], b.shape[1])
    shared = int((a[:rows, :columns] & b[:rows, :columns]).sum())
    return shared >= _STANDING * max(1, int(line.strokes.sum()) + int(other.strokes.sum()) - shared)


def _groups(seen: Sequence[Seen], height: int) -> list[list[Seen]]:
    """Group lines whose rows touch, by the number of pictures with letters in each row. Rows of only a few pictures are a gap."""
    votes = np.zeros(height, int)
    for number in {line.picture for line in seen}:
        rows = np.zeros(height, bool)
        for line in seen:
            if line.picture == number:
                rows[line.box.top : line.box.bottom] = True
        votes += rows
    groups: list[list[Seen]] = []
    left = list(seen)
    while left:
        peak = int(votes.argmax())
        if votes[peak] == 0:
            break
        least = max(1.0, _LEAST_PART * votes[peak])
        top, bottom = peak, peak + 1
        while top > 0 and votes[top - 1] >= least:
            top -= 1
        while bottom < height and votes[bottom] >= least:
            bottom += 1
        group = [line for line in left if top <= (line.box.top + line.box.bottom) / 2 < bottom]
        left = [line for line in left if not any(line is other for other in group)]
        votes[top:bottom] = 0
        if group:
            groups.append(group)
    return sorted(_joined(groups), key=lambda group: min(line.box.top for line in group))


def _joined(groups: list[list[Seen]]) -> list[list[Seen]]:
    """Join groups that are closer to each other than the height of a line: they are lines of the same captions."""
    ordered = sorted(groups, key=lambda group: float(np.median([line.box.top for line in group])))
    joined: list[list[Seen]] = ordered[:1]
    for above, below in pairwise(ordered):
        usual_height = float(np.median([line.box.height for line in (*above, *below)]))
        gap = float(np.percentile([line.box.top for line in below], 25) - np.percentile([line.box.bottom for line in above], 75))
        if gap < usual_height:
            joined[-1] = joined[-1] + below
        else:
            joined.append(below)
    return joined


def _bounds(group: Sequence[Seen], width: int, height: int) -> CropBox:
    """Return the box around nearly all of a group's lines, with a margin."""
    usual = statistics.median_low(line.box.height for line in group)  # the height of one of the lines, so that at least this line is kept
    heights = [line.box.height / usual for line in group]
    likely = [any(low <= height <= high for low, high in (_ONE_LINE, _TWO_LINES)) for height in heights]
    group = [line for line, kept in zip(group, likely, strict=True) if kept]
    line_height = float(np.median([line.box.height for line in group]))
    top = np.percentile([line.box.top for line in group], 4) - _ROWS * line_height
    bottom = np.percentile([line.box.bottom for line in group], 96) + _ROWS * line_height
    left = min(line.box.left for line in group) - _COLUMNS * width
    right = max(line.box.right for line in group) + _COLUMNS * width
    if _anchor([line.box for line in group], width) is Anchor.CENTER:
        middle = float(np.median([line.box.left + line.box.right for line in group])) / 2
        reach = max(middle - left, right - middle)
        left, right = middle - reach, middle + reach
    return CropBox(max(0, round(left)), max(0, round(top)), min(width, round(right)), min(height, round(bottom)))


def _anchor(boxes: Sequence[CropBox], width: int) -> Anchor:
    """Return the side whose position varies least over the lines, or the centre if no side is clearly steadier."""
    lefts, rights, middles = (
        _spread([box.left for box in boxes]),
        _spread([box.right for box in boxes]),
        _spread([(box.left + box.right) / 2 for box in boxes]),
    )
    if min(lefts, rights) >= 0.5 * middles or middles <= _ALIGNED * width:
        return Anchor.CENTER
    return Anchor.LEFT if lefts <= rights else Anchor.RIGHT


def _spread(places: Sequence[float]) -> float:
    low, high = np.percentile(places, [15, 85])
    return float(high - low)
