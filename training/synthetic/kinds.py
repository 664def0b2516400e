"""Kinds of material in films: how likely each trait is in a clip of each kind.

Training and testing use the same recipes with different fonts and footage. Training draws hard ones more often, and has some
recipes of its own.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from training.synthetic.words import WORDS_OF_A_LINE, Script


class Kind(StrEnum):
    LATIN = "latin"
    CYRILLIC = "cyrillic"
    CHINESE = "chinese"
    JAPANESE = "japanese"
    KOREAN = "korean"
    ARABIC = "arabic"
    ONE_WORD = "one word changed"
    TWO_LINES = "one of two lines changed"
    BOXES = "boxes that stay"
    FADES = "fades"
    THIN = "thin letters, busy or shaking ground"
    LOW_CONTRAST = "low contrast"
    RECOLOUR = "words change colour"
    SIGNS = "signs and logos"
    CUTS = "cuts under a caption"
    COMPRESSION = "heavy compression"
    SMALL = "strips of 20 pixels"
    LIT_WORDS = "words lit in turn"
    SLOW_FADES = "slow fades"
    TALL_STRIPS = "strips far too high"
    LOOKALIKES = "grounds like letters"


@dataclass(frozen=True, slots=True)
class Recipe:
    """Chances (0..1) of the traits of one clip, and ranges of its measures.

    The chances from ``lit_words`` on draw no random number while they are 0, so that clips of older kinds stay as they were.

    Attributes:
        words: fewest and most words of a line.
        captionless: the clip has no captions, like most of a film.
        follow: one caption follows the other without a gap.
        one_word, one_line: if a caption follows another, how the text changes; otherwise all of it is new.
        ending: if one word changes, only its ending does.
        extend: if a caption follows another, words are added to the visible ones; also if one line would change and there is only one.
        busy: a generated background is a rough texture, never flat.
        standing_bar: a box stays while captions come and go.
        quality: libvpx's constant rate factor.
        aspect: width over height.
        fade_frames: fewest and most frames of a fade, at either end of a caption.
        lit_words: a caption's words are lit one after the other; the lit word may grow and have a box.
        tall: the strip has room for ``tall_rows`` lines above each other, of which the captions use one or two.
        lookalike: a shot shows what looks like letters: night lights, seats, clothes.
        watermark: faint or cut off writing stays from the first frame to the last.
        poster: a shot shows a poster, a scoreboard or a page: several lines of writing, some of them smaller than others.
    """

    scripts: tuple[Script, ...] = tuple(Script)
    words: tuple[int, int] = WORDS_OF_A_LINE
    captionless: float = 0.2
    follow: float = 0.45
    one_word: float = 0.15
    one_line: float = 0.15
    ending: float = 0.0
    extend: float = 0.05
    two_lines: float = 0.35
    fade: float = 0.12
    own_box: float = 0.25
    standing_bar: float = 0.05
    thin: float = 0.1
    low_contrast: float = 0.06
    recolour: float = 0.08
    sign: float = 0.12
    logo: float = 0.08
    cut: float = 0.15
    shake: float = 0.15
    busy: float = 0.3
    quality: tuple[int, int] = (18, 46)
    height: tuple[int, int] = (20, 60)
    aspect: tuple[float, float] = (7.0, 18.0)
    caption_frames: tuple[int, int] = field(default=(4, 26))
    fade_frames: tuple[int, int] = (0, 5)
    lit_words: float = 0.0
    tall: float = 0.0
    tall_rows: tuple[int, int] = (3, 6)
    lookalike: float = 0.0
    watermark: float = 0.0
    poster: float = 0.0


PLAIN: Final = Recipe()

RECIPES: Final = {
    **{Kind(script.value): replace(PLAIN, scripts=(script,)) for script in Script},
    Kind.ONE_WORD: replace(PLAIN, one_word=0.95, one_line=0.0, extend=0.05, follow=0.85, fade=0.02),
    Kind.TWO_LINES: replace(PLAIN, two_lines=1.0, one_line=0.9, one_word=0.05, follow=0.85, height=(32, 80), aspect=(6.0, 12.0), fade=0.02),
    Kind.BOXES: replace(PLAIN, standing_bar=1.0, own_box=0.0, follow=0.25),
    Kind.FADES: replace(PLAIN, fade=1.0, follow=0.2, caption_frames=(10, 30)),
    Kind.THIN: replace(PLAIN, thin=1.0, busy=1.0, shake=0.5, own_box=0.0, standing_bar=0.0),
    Kind.LOW_CONTRAST: replace(PLAIN, low_contrast=1.0, own_box=0.0, standing_bar=0.0, quality=(18, 36)),
    Kind.RECOLOUR: replace(PLAIN, recolour=1.0, caption_frames=(8, 30), fade=0.02),
    Kind.SIGNS: replace(PLAIN, sign=0.75, logo=0.6, follow=0.25),
    Kind.CUTS: replace(PLAIN, cut=1.0, caption_frames=(10, 30)),
    Kind.COMPRESSION: replace(PLAIN, quality=(48, 60)),
    Kind.SMALL: replace(PLAIN, height=(20, 20), two_lines=0.0),
    Kind.LIT_WORDS: replace(PLAIN, lit_words=1.0, recolour=0.0, follow=0.7, one_word=0.3, caption_frames=(8, 30), fade=0.02),
    Kind.SLOW_FADES: replace(PLAIN, fade=1.0, fade_frames=(6, 12), follow=0.1, caption_frames=(20, 40)),
    Kind.TALL_STRIPS: replace(PLAIN, tall=1.0, height=(80, 200), aspect=(3.5, 8.0), quality=(18, 40)),
    Kind.LOOKALIKES: replace(PLAIN, lookalike=0.8, watermark=0.4, captionless=0.4, follow=0.25),
}
