"""Font families of the captions, by script. Some are kept for testing only.

Files come from the npm packages pinned in ``training/fonts``; FreeType reads their WOFF2 files directly.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from PIL import ImageFont

from training.synthetic.words import MARKS, WORDS, Script, Vocabulary, vocabulary

Font = ImageFont.FreeTypeFont

_SUBSET: Final = {
    Script.LATIN: ("latin",),
    Script.CYRILLIC: ("cyrillic",),
    Script.CHINESE: ("chinese-simplified", "chinese-traditional"),
    Script.JAPANESE: ("japanese",),
    Script.KOREAN: ("korean",),
    Script.ARABIC: ("arabic",),
}

TRAINING_FAMILIES: Final = {
    Script.LATIN: "noto-sans roboto lato montserrat oswald merriweather pt-serif roboto-mono comic-neue raleway ubuntu open-sans lora",
    Script.CYRILLIC: "noto-sans roboto montserrat oswald merriweather pt-serif roboto-mono raleway ubuntu open-sans lora",
    Script.CHINESE: "noto-sans-sc noto-serif-sc zcool-kuaile ma-shan-zheng",
    Script.JAPANESE: "noto-sans-jp noto-serif-jp m-plus-1p kosugi-maru biz-udpgothic kaisei-opti",
    Script.KOREAN: "noto-sans-kr nanum-myeongjo do-hyeon",
    Script.ARABIC: "noto-sans-arabic cairo amiri tajawal vazirmatn el-messiri scheherazade-new changa",
}

HELD_OUT_FAMILIES: Final = {
    Script.LATIN: "source-sans-3 inter arimo tinos fira-sans",
    Script.CYRILLIC: "source-sans-3 inter arimo tinos fira-sans",
    Script.CHINESE: "zcool-xiaowei lxgw-wenkai-tc",
    Script.JAPANESE: "zen-kaku-gothic-new shippori-mincho",
    Script.KOREAN: "nanum-gothic gothic-a1",
    Script.ARABIC: "almarai noto-naskh-arabic",
}


@dataclass(frozen=True, slots=True)
class Face:
    path: str
    weight: int


class FontShelf:
    """Typefaces of some families, by script.

    Raises:
        FileNotFoundError: a family is not installed under ``root``.
    """

    def __init__(self, root: Path, families: dict[Script, str]) -> None:
        self._faces = {script: _faces(root, script, names.split()) for script, names in families.items()}

    def pick(self, rng: np.random.Generator, script: Script, *, thin: bool = False) -> Face:
        """Pick a family at random, then one of its weights; ``thin`` takes 300 or lighter if the family has it."""
        family = self._faces[script][int(rng.integers(len(self._faces[script])))]
        chosen = [face for face in family if face.weight <= 300] if thin else [face for face in family if face.weight >= 300]
        chosen = chosen or list(family)
        return chosen[int(rng.integers(len(chosen)))]


@lru_cache(maxsize=600)  # opening one unpacks its file: 10 ms, 60 ms for a Chinese one
def load_font(path: str, size: int) -> Font:
    return ImageFont.truetype(path, size)


@lru_cache(maxsize=1024)
def vocabulary_of(path: str, script: Script) -> Vocabulary:
    """Return the part of a script's vocabulary that a typeface has glyphs for."""
    font = load_font(path, 16)
    unknown = bytes(font.getmask("\U0010ffff"))
    alphabet = {char for word in WORDS[script] for char in word + word.upper()} | set(MARKS)
    return vocabulary(script, frozenset(char for char in alphabet if bytes(font.getmask(char)) == unknown))


def _faces(root: Path, script: Script, names: list[str]) -> list[tuple[Face, ...]]:
    families = []
    for name in names:
        files = root / "node_modules" / "@fontsource" / name / "files"
        faces = [
            Face(str(path), weight)
            for subset in _SUBSET[script]
            for slant in ("normal", "italic")
            for weight in range(100, 901, 100)
            if (path := files / f"{name}-{subset}-{weight}-{slant}.woff2").is_file()
        ]
        if not faces:
            install = "python -m training fonts"
            raise FileNotFoundError(f"no {script} face of {name} under {files}; install the fonts with `{install}`")
        families.append(tuple(faces))
    return families
