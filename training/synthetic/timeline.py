"""When captions appear and disappear, and how each text follows from the one before."""

from dataclasses import dataclass

import numpy as np

from training.synthetic.kinds import Recipe
from training.synthetic.words import Line, Vocabulary


@dataclass(frozen=True, slots=True)
class Caption:
    """A caption in frames ``start`` to ``stop`` - 1. The first and last few may be a fade."""

    lines: tuple[Line, ...]
    start: int
    stop: int
    fade_in: int
    fade_out: int

    def frames(self, n: int) -> range:
        return range(max(0, self.start), min(n, self.stop))

    def visibility(self, t: int) -> float:
        """0..1; a fade of k frames passes through 1/(k+1), ..., k/(k+1)."""
        rise = (t - self.start + 1) / (self.fade_in + 1)
        fall = (self.stop - t) / (self.fade_out + 1)
        return max(0.0, min(1.0, rise, fall))


def write_timeline(rng: np.random.Generator, recipe: Recipe, words: Vocabulary, rows: int, n: int) -> list[Caption]:
    """Write captions from before frame 0 until after the last frame. Captions entirely outside the clip are left out.

    If the strip has room for two rows, a little more than half of the captions have two lines.
    """
    fades = rng.random() < recipe.fade
    captions: list[Caption] = []
    clock = -int(rng.integers(0, recipe.caption_frames[1]))
    while clock < n:
        previous = captions[-1] if captions else None
        lines = _next_lines(rng, recipe, words, rows, previous)
        if previous is None or rng.random() >= recipe.follow:
            clock += int(rng.integers(2, 14))
            lines = _new_lines(rng, recipe, words, rows)
        fade_in, fade_out = rng.integers(recipe.fade_frames[0], recipe.fade_frames[1] + 1, 2).tolist() if fades else (0, 0)
        length = max(int(rng.integers(recipe.caption_frames[0], recipe.caption_frames[1] + 1)), fade_in + fade_out + 2)
        captions.append(Caption(lines, clock, clock + length, fade_in, fade_out))
        clock += length
    return [caption for caption in captions if caption.stop > 0 and caption.start < n]


def _next_lines(rng: np.random.Generator, recipe: Recipe, words: Vocabulary, rows: int, previous: Caption | None) -> tuple[Line, ...]:
    """Return the lines of a caption that follows another without a gap: a word, a line or its end changed, or all new."""
    if previous is None:
        return _new_lines(rng, recipe, words, rows)
    choice = rng.random()
    lines = list(previous.lines)
    place = int(rng.integers(len(lines)))
    if choice < recipe.one_word:
        ending_only = (
            recipe.ending > 0 and rng.random() < recipe.ending
        )  # test clips never change only the ending, and draw no number for it
        lines[place] = words.with_one_word_changed(rng, lines[place], ending_only=ending_only)
    elif choice < recipe.one_word + recipe.one_line and len(lines) > 1:
        lines[place] = words.line(rng, recipe.words)
    elif choice < recipe.one_word + recipe.one_line + recipe.extend:
        last = lines[-1]
        lines[-1] = Line(words.script, last.words + words.line(rng).words[:2], last.terminator)
    else:
        lines = list(_new_lines(rng, recipe, words, rows))
    return tuple(lines)


def _new_lines(rng: np.random.Generator, recipe: Recipe, words: Vocabulary, rows: int) -> tuple[Line, ...]:
    count = rows if rng.random() < 0.55 else 1
    return tuple(words.line(rng, recipe.words) for _ in range(count))
