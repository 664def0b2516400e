"""Formats times in a film for people."""


def clock(seconds: float) -> str:
    """``0:01:02.3``: to a tenth of a second, the resolution of 10 Hz."""
    tenths = round(seconds * 10)
    return f"{tenths // 36_000}:{tenths // 600 % 60:02}:{tenths // 10 % 60:02}.{tenths % 10}"
