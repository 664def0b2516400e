"""Keeps pictures of pages where ``EXTENTS_SCREENSHOTS`` says so: ``make screenshots``."""

import io
import os
from pathlib import Path
from typing import Final

from PIL import Image
from playwright.sync_api import Page

from tests.debian import AXE

IMAGES: Final = Path(os.environ["EXTENTS_SCREENSHOTS"]) if "EXTENTS_SCREENSHOTS" in os.environ else None
COLOURS: Final = 128
"""Good enough for a page, with a quarter of the bytes."""


def keep(page: Page, name: str, *, whole: bool = False) -> None:
    """Write a picture of what is in view, or of the whole page."""
    if IMAGES is None:
        return
    (IMAGES / f"{name}.png").write_bytes(compressed(page.screenshot(full_page=whole)))


def compressed(png: bytes) -> bytes:
    """Reduce a picture's colours."""
    file = io.BytesIO()
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return file.getvalue()


def violations(page: Page) -> list[tuple[str, str]]:
    """Return what axe-core finds. The debugger loads it, because the pages' policies forbid other ways."""
    page.evaluate(AXE.read_text())
    return [(each["id"], each["nodes"][0]["html"]) for each in page.evaluate("axe.run().then((result) => result.violations)")]
