"""Reads stills with RapidOCR: the networks of PP-OCR in its wheel, on ONNX Runtime."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from core.errors import ConfigurationError
from inference.arrays import Frames
from inference.reading.reader import Reading
from inference.telemetry import disable_onnxruntime_telemetry

_LATIN: Final = "ca cs da de en es et fi fr hr hu id is it lt lv nl no pl pt ro sk sl sv tr latin"
LANGUAGES: Final = frozenset(f"ch zh chinese_cht ja japan {_LATIN}".split())
"""One network, which is in the wheel, reads all of these. Networks for other languages would have to be downloaded, which is never done."""

READABLE: Final = "Chinese (zh), Japanese (ja), English (en) and most European languages in Latin script (fr, de, es, ...)"

_LONGEST_SIDE: Final = 960  # of a still in which lines are looked for; they are read at full size
_LEAST_CONFIDENCE: Final = 0.6  # of a line; text below it belongs to the background
_SAME_LINE: Final = 0.5  # of a box's height, by which the middles of boxes in one line may differ


class RapidReader:
    """One RapidOCR, with the networks of its wheel."""

    def __init__(self, language: str | None = None) -> None:
        """
        Raises:
            ConfigurationError: RapidOCR is not installed, or does not know the language.
        """
        disable_onnxruntime_telemetry()
        try:
            from rapidocr import RapidOCR
        except ImportError as error:
            raise ConfigurationError(
                f"reading words needs packages that are not installed ({error}): "
                "run make setup EXTRAS=text, or make setup-film EXTRAS=text, in a checkout"
            ) from error
        if language is not None and language.lower() not in LANGUAGES:
            raise ConfigurationError(
                f"--text {language}: the reader rapidocr does not know this language; it reads {READABLE}; "
                "docs/reading.md lists all of them and says how to add another reader"
            )
        self._engine: Any = RapidOCR(
            params={
                "Global.log_level": "error",
                "Global.use_cls": False,  # captions are upright
                "Det.limit_type": "max",
                "Det.limit_side_len": _LONGEST_SIDE,
            }
        )

    def read(self, still: Frames) -> Reading:
        result = self._engine(np.ascontiguousarray(still[..., ::-1]))  # the engine expects BGR
        if result.txts is None:
            return Reading("", 0.0)
        words = [
            (np.asarray(box, float), str(text), float(score))
            for box, text, score in zip(result.boxes, result.txts, result.scores, strict=True)
            if score >= _LEAST_CONFIDENCE and _is_read(str(text))
        ]
        if not words:
            return Reading("", 0.0)
        return Reading(_in_lines(words), float(np.mean([score for _, _, score in words])))


def _is_read(text: str) -> bool:
    """Whether the text is mostly letters and digits: a script that the networks do not know gives spaces and dots."""
    written = "".join(text.split())
    return sum(character.isalnum() for character in written) * 2 >= len(written) > 0


def _in_lines(words: Sequence[tuple[Any, str, float]]) -> str:
    """Join boxes of four corners and their texts, from left to right within a line and from top to bottom."""
    ordered = sorted(words, key=lambda word: float(word[0][:, 1].mean()))
    lines: list[list[tuple[Any, str, float]]] = []
    for word in ordered:
        middle, height = float(word[0][:, 1].mean()), float(np.ptp(word[0][:, 1]))
        if lines and middle - float(np.mean([other[0][:, 1].mean() for other in lines[-1]])) < _SAME_LINE * height:
            lines[-1].append(word)
        else:
            lines.append([word])
    return "\n".join(" ".join(text for _, text, _ in sorted(line, key=lambda word: float(word[0][:, 0].min()))) for line in lines)
