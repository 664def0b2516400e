"""Runs the classifier over a span: resizes the strips and predicts their pairs in batches of one shape."""

import functools
import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from core.errors import CorruptInputError, TransientError
from core.types import LABELS, Anchor, Layout
from inference.architectures.channel_fusion_lora_spatial.classifier import Classifier
from inference.architectures.channel_fusion_lora_spatial.strips import (
    HEIGHT,
    WIDTH,
    Fit,
    fit_on_device,
    fit_with_pillow,
    spatial_features,
)
from inference.engine.batching import checked, in_batches
from inference.engine.compilation import compiled
from inference.engine.device import compute_reproducibly
from inference.engine.predictor import EngineOptions, Frames, Probabilities

MAX_OCR_PIXELS: Final = 2**26
"""Twice the pixels of an 8K frame. A larger image is not a visualisation, and decoding it would take more than 200 MB."""

MAX_OCR_SIDE: Final = 16_384
"""Twice the width of an 8K frame: resizing takes memory for each row and column of the image."""

_OCR_FORMATS: Final = ("PNG", "JPEG", "WEBP")  # Pillow's other readers are never used for stored images
_SIZES_KEPT: Final = 8  # resamplers cached by frame size and anchor; a worker processes a few videos at a time


@dataclass(frozen=True, slots=True)
class Video:
    """Values shared by all pairs of a video: the OCR image's part and the layout's features, on the device."""

    anchor: Anchor
    ocr_part: Tensor
    spatial: Tensor  # (1, 6) float32


class ChannelFusionPredictor:
    """An ``inference.engine.predictor.Predictor``; see there for the contract. Owned by one thread.

    ``options`` are those in use: ``compile`` is off if compilation failed, and ``batch_size`` is the largest that fitted
    into memory so far.
    """

    def __init__(self, classifier: Classifier, options: EngineOptions) -> None:
        self.options = options
        self._device = torch.device(options.device)
        self.classifier = classifier
        self._compiled: Callable[[Tensor, Tensor, Tensor], Tensor] = classifier
        make_fit = fit_on_device if options.fit_on_device else fit_with_pillow
        fit = functools.partial(make_fit, device=self._device)  # not a bound method: a reference cycle would outlive the last user
        self._fit: Callable[[int, int, Anchor], Fit] = functools.lru_cache(_SIZES_KEPT)(fit)
        self._copies: torch.cuda.Stream | None = None
        if self._device.type == "cuda":
            self._copies = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]  # torch has no types for it
        compute_reproducibly(self._device)

    def warm_up(self) -> None:
        """Compile if requested, and run once, so that neither that nor the device's lazy initialisation delays the first span."""
        if self.options.compile:
            forward = compiled(self.classifier, self._device, self._run_blank)
            self.options = replace(self.options, compile=forward is not None)
            self._compiled = self.classifier if forward is None else forward
        if self._device.type == "cuda" and not self.options.compile:
            self._run_blank(self.classifier)

    @property
    def strip_size(self) -> None:
        return None  # its strips keep their proportions, and the anchor decides which part is cut off

    def open_video(self, layout: Layout) -> Video:
        """Decode the OCR visualisation, resize it like a frame, and compute its part of the stem.

        Raises:
            CorruptInputError: it is not an image, or larger than ``MAX_OCR_PIXELS`` or ``MAX_OCR_SIDE``.
            TransientError: not enough device memory for it.
        """
        image = _decode_image(layout.ocr_image)
        try:
            with torch.inference_mode():
                strip = self._fit(image.shape[0], image.shape[1], layout.anchor)(self._upload(image[None]))
                spatial = torch.tensor([spatial_features(layout)], device=self._device)
                return Video(layout.anchor, self.classifier.ocr_part(strip), spatial)
        except torch.OutOfMemoryError as error:
            raise TransientError(f"{self.options.device}: out of memory with the layout's OCR visualisation: {error}") from error

    def predict(self, video: Video, frames: Frames) -> Probabilities:
        """Classify the n − 1 pairs of n frames; (n − 1, 2, 5).

        Raises:
            TransientError: not enough device memory for a single pair.
            PermanentError: a probability is not finite: the network overflows in this precision.
        """
        with torch.inference_mode():
            return checked(self._predict_batches(video, frames).cpu().numpy(), self.options)

    def _predict_batches(self, video: Video, frames: Frames) -> Tensor:
        """Predict all consecutive pairs batch by batch, with smaller batches if memory runs out.

        On a GPU the next batch is uploaded while the current one is computed.
        """
        fit = self._fit(frames.shape[1], frames.shape[2], video.anchor)
        last: tuple[int, Tensor] = (-1, torch.empty(0))  # the frame shared by two batches is uploaded and resized once

        def predict(first: int, stop: int, options: EngineOptions) -> Tensor:
            nonlocal last
            known = last[0] == first
            strips = fit(self._upload(frames[first + known : stop + 1]))
            if known:
                strips = torch.cat([last[1], strips])
            probabilities = self._classify(video, strips, options)
            last = (stop, strips[-1:])
            return probabilities

        results, self.options = in_batches(len(frames) - 1, self.options, predict)
        return torch.cat(results) if results else torch.empty((0, 2, len(LABELS)), device=self._device)

    def _classify(self, video: Video, strips: Tensor, options: EngineOptions) -> Tensor:
        """Predict one batch's pairs."""
        pairs = len(strips) - 1
        if options.compile and pairs < options.batch_size:  # pad: another shape would be compiled again
            strips = torch.cat([strips, strips[-1:].expand(options.batch_size - pairs, -1, -1, -1)])
        memory_format = torch.channels_last if options.channels_last else torch.contiguous_format
        forward = self._compiled if options.compile else self.classifier
        return forward(strips.contiguous(memory_format=memory_format), video.ocr_part, video.spatial)[:pairs].clone()

    def _upload(self, images: Frames) -> Tensor:
        """Copy to the device; to a GPU in a separate stream from pinned memory, concurrently with computation."""
        host = torch.from_numpy(images)
        if self._copies is None:
            return host
        with torch.cuda.stream(self._copies):
            uploaded = host.pin_memory().to(self._device, non_blocking=True)
        computing = torch.cuda.current_stream(self._device)
        computing.wait_stream(self._copies)
        uploaded.record_stream(computing)
        return uploaded

    def _run_blank(self, forward: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        """Run a batch of black strips through ``forward`` and all steps around it."""
        self._compiled = forward
        with torch.inference_mode():
            frames = np.zeros((self.options.batch_size + 1, HEIGHT, WIDTH, 3), np.uint8)
            strip = torch.zeros((1, 3, HEIGHT, WIDTH), dtype=torch.uint8, device=self._device)
            blank = Video(Anchor.CENTER, self.classifier.ocr_part(strip), torch.zeros((1, 6), device=self._device))
            self._predict_batches(blank, frames).cpu()


def _decode_image(data: bytes) -> Frames:
    """Decode an encoded image to uint8 (height, width, 3) RGB."""
    try:
        with Image.open(io.BytesIO(data), formats=_OCR_FORMATS) as image:
            if image.width * image.height > MAX_OCR_PIXELS or max(image.size) > MAX_OCR_SIDE:
                raise CorruptInputError(
                    f"layout: the OCR visualisation has {image.width}×{image.height} pixels;"
                    f" the limits are {MAX_OCR_PIXELS:,} in all and {MAX_OCR_SIDE:,} per side"
                )
            return np.array(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # the errors that Pillow's readers raise
        raise CorruptInputError(f"layout: the OCR visualisation ({len(data)} bytes) is not a readable image: {error}") from error
