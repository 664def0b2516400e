"""Captions as subtitle files. Their text is unknown, so each cue contains its number."""

from collections.abc import Sequence

from core.captions import CaptionExtent


def to_srt(captions: Sequence[CaptionExtent]) -> str:
    """SubRip: numbered cues, comma before the milliseconds."""
    cues = [
        f"{number}\n{_time(caption.start_seconds, ',')} --> {_time(caption.end_seconds, ',')}\nCaption {number}\n"
        for number, caption in enumerate(captions, start=1)
    ]
    return "\n".join(cues)


def to_vtt(captions: Sequence[CaptionExtent]) -> str:
    """WebVTT (W3C), cues identified by their numbers."""
    cues = [
        f"\n{number}\n{_time(caption.start_seconds, '.')} --> {_time(caption.end_seconds, '.')}\nCaption {number}\n"
        for number, caption in enumerate(captions, start=1)
    ]
    return "WEBVTT\n" + "".join(cues)


def _time(seconds: float, mark: str) -> str:
    """``00:01:02,300``."""
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{mark}{rest % 1000:03}"
