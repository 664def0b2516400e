"""A box of a film's picture, in pixels."""

from dataclasses import dataclass
from typing import Final

from core.errors import PermanentError
from inference.media.decode import MAX_HEIGHT, MAX_WIDTH

_LEAST_SIDE: Final = 6  # pixels: nobody can read lower letters


@dataclass(frozen=True, slots=True)
class CropBox:
    """A box in pixels of the full frame; right and bottom are the first column and row outside it."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    def __str__(self) -> str:
        return f"{self.left},{self.top},{self.right},{self.bottom}"

    @property
    def fits_strip(self) -> bool:
        """Whether a strip can be as large as this."""
        return self.width <= MAX_WIDTH and self.height <= MAX_HEIGHT

    def check_within(self, width: int, height: int) -> None:
        """
        Raises:
            PermanentError: the box is empty or too small for letters, reaches outside a frame of this size, or is too large for a strip.
        """
        self.check_inside(width, height)
        if not self.fits_strip:
            raise PermanentError(
                f"crop {self} is larger than the largest strip, {MAX_WIDTH}x{MAX_HEIGHT} pixels: crop closer to the captions"
            )

    def check_inside(self, width: int, height: int) -> None:
        """
        Raises:
            PermanentError: the box is empty or too small for letters, or reaches outside a frame of this size.
        """
        if self.left >= self.right or self.top >= self.bottom:
            raise PermanentError(f"crop {self} contains no pixels; expected left,top,right,bottom with left < right and top < bottom")
        if min(self.width, self.height) < _LEAST_SIDE:
            raise PermanentError(
                f"crop {self} is {self.width}x{self.height} pixels, too small for letters; expected at least {_LEAST_SIDE}x{_LEAST_SIDE}"
            )
        if self.left < 0 or self.top < 0 or self.right > width or self.bottom > height:
            raise PermanentError(f"crop {self} reaches outside the film, which is {width}x{height} pixels")
