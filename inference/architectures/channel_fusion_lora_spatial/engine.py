"""Runs the classifier over a span: fit the strips, take pairs in batches of one shape."""

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
from inference.batching import checked, in_batches
from inference.compilation import compiled
from inference.device import compute_reproducibly
from inference.predictor import EngineOptions, Frames, Probabilities

MAX_OCR_PIXELS: Final = 2**26
"""An 8K film's frame has half as many; what decodes to more is no visualisation, and 200 MB is enough for one."""

_SIZES_KEPT: Final = 8  # resamplers kept by frame size and anchor; a worker has a few videos in hand


@dataclass(frozen=True, slots=True)
class Video:
    """What is the same for all pairs of a video: the OCR image's part and the layout's features, on the device."""

    anchor: Anchor
    ocr_part: Tensor
    spatial: Tensor  # (1, 6) float32


class Engine:
    """An ``inference.predictor.Predictor``; see there for the contract. Owned by one thread.

    ``options`` say how it really runs: ``compile`` is off where there was no compiler, and ``batch_size`` is what has
    fitted into memory so far.
    """

    def __init__(self, classifier: Classifier, options: EngineOptions) -> None:
        self.options = options
        self._device = torch.device(options.device)
        self.classifier = classifier
        self._forward: Callable[[Tensor, Tensor, Tensor], Tensor] = classifier
        self._fit = functools.lru_cache(_SIZES_KEPT)(self._make_fit)
        self._copies: torch.cuda.Stream | None = None
        if self._device.type == "cuda":
            self._copies = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]  # torch has no types for it
        compute_reproducibly(self._device)

    def warm_up(self) -> None:
        """Compile if asked to, and run once, so that the first span meets neither compiler nor a device's lazy start."""
        if self.options.compile:
            forward = compiled(self.classifier, self._device, self._run_blank)
            self.options = replace(self.options, compile=forward is not None)
            self._forward = self.classifier if forward is None else forward
        if self._device.type == "cuda" and not self.options.compile:
            self._run_blank(self.classifier)

    def open_video(self, layout: Layout) -> Video:
        """Decode the OCR visualisation, fit it like a frame, and compute its part of the stem.

        Raises:
            CorruptInputError: it is no image, or one of more than ``MAX_OCR_PIXELS``.
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
        """Probabilities of all consecutive pairs, from upload to softmax batch by batch, with as small a batch as it takes.

        A frame between two batches is fitted in both. On a GPU the next batch is uploaded while one is computed.
        """

        def predict(first: int, stop: int, batch_size: int) -> Tensor:
            fit = self._fit(frames.shape[1], frames.shape[2], video.anchor)
            return self._classify(video, fit(self._upload(frames[first : stop + 1])), batch_size)

        results, self.options = in_batches(len(frames) - 1, self.options, predict)
        return torch.cat(results) if results else torch.empty((0, 2, len(LABELS)), device=self._device)

    def _classify(self, video: Video, strips: Tensor, batch_size: int) -> Tensor:
        """Probabilities of one batch's pairs."""
        pairs = len(strips) - 1
        if self.options.compile and pairs < batch_size:  # one shape only: another would be compiled anew
            strips = torch.cat([strips, strips[-1:].expand(batch_size - pairs, -1, -1, -1)])
        memory_format = torch.channels_last if self.options.channels_last else torch.contiguous_format
        return self._forward(strips.contiguous(memory_format=memory_format), video.ocr_part, video.spatial)[:pairs].clone()

    def _upload(self, images: Frames) -> Tensor:
        """Copy to the device; to a GPU by a stream of its own from pinned memory, beside what is being computed."""
        host = torch.from_numpy(images)
        if self._copies is None:
            return host
        with torch.cuda.stream(self._copies):
            uploaded = host.pin_memory().to(self._device, non_blocking=True)
        computing = torch.cuda.current_stream(self._device)
        computing.wait_stream(self._copies)
        uploaded.record_stream(computing)
        return uploaded

    def _make_fit(self, height: int, width: int, anchor: Anchor) -> Fit:
        make = fit_on_device if self.options.fit_on_device else fit_with_pillow
        return make(height, width, anchor, self._device)

    def _run_blank(self, forward: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        """One batch of black strips through ``forward``, from the first step of a video to the last."""
        self._forward = forward
        with torch.inference_mode():
            frames = np.zeros((self.options.batch_size + 1, HEIGHT, WIDTH, 3), np.uint8)
            strip = torch.zeros((1, 3, HEIGHT, WIDTH), dtype=torch.uint8, device=self._device)
            blank = Video(Anchor.CENTER, self.classifier.ocr_part(strip), torch.zeros((1, 6), device=self._device))
            self._predict_batches(blank, frames).cpu()


def _decode_image(data: bytes) -> Frames:
    """An encoded image as uint8 (height, width, 3) RGB."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > MAX_OCR_PIXELS:
                raise CorruptInputError(
                    f"layout: the OCR visualisation has {image.width}×{image.height} pixels; {MAX_OCR_PIXELS:,} are the most"
                )
            return np.array(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # what Pillow's readers raise
        raise CorruptInputError(f"layout: the OCR visualisation ({len(data)} bytes) is no readable image: {error}") from error
