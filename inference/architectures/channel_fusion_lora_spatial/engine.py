"""Runs the classifier over a span: fit the strips, take pairs in batches of one shape, halve the batch when memory is short."""

import functools
import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import structlog
import torch
import torch._inductor.config
from PIL import Image
from torch import Tensor

from core.errors import CorruptInputError, PermanentError, TransientError
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
from inference.predictor import EngineOptions, Frames, Probabilities

log = structlog.get_logger()

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
            # TF32 keeps 10 bits of float32's 23; algorithms chosen by timing would differ from start to start.
            torch.backends.cuda.matmul.allow_tf32 = False
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cudnn.benchmark = False
            torch.backends.cudnn.deterministic = True

    def warm_up(self) -> None:
        """Compile if asked to, and run once, so that the first span meets neither compiler nor a device's lazy start."""
        if self.options.compile:
            self._forward = torch.compile(self.classifier, dynamic=False, fullgraph=True)
            try:
                with _frozen(self._device.type == "cpu"):
                    self._run_blank()
            except Exception as error:  # no compiler, or one that fails: what it raises is the backend's own affair
                log.warning("engine.not_compiled", reason=str(error).strip().splitlines()[0])
                self._forward = self.classifier
                self.options = replace(self.options, compile=False)
        if self._device.type == "cuda" and not self.options.compile:
            self._run_blank()

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
            result = self._predict_batches(video, frames).cpu().numpy()
        if not np.isfinite(result).all():
            raise PermanentError(f"the network's output is not finite in {self.options.precision}; run it in float32")
        probabilities: Probabilities = result
        return probabilities

    def _predict_batches(self, video: Video, frames: Frames) -> Tensor:
        """Probabilities of all consecutive pairs, from upload to softmax batch by batch, with as small a batch as it takes.

        A frame between two batches is fitted in both. On a GPU the next batch is uploaded while one is computed.
        """
        results: list[Tensor] = []
        first = 0
        while first < len(frames) - 1:
            part = frames[first : first + self.options.batch_size + 1]
            shortage = ""
            try:
                fit = self._fit(frames.shape[1], frames.shape[2], video.anchor)
                results.append(self._classify(video, fit(self._upload(part))))
                first += len(part) - 1
            except torch.OutOfMemoryError as error:
                shortage = str(error)
            if shortage:  # not in the handler, where the error's traceback still holds the batch's tensors
                self._halve_batch(shortage)
        return torch.cat(results) if results else torch.empty((0, 2, len(LABELS)), device=self._device)

    def _classify(self, video: Video, strips: Tensor) -> Tensor:
        """Probabilities of one batch's pairs."""
        pairs = len(strips) - 1
        if self.options.compile and pairs < self.options.batch_size:  # one shape only: another would be compiled anew
            strips = torch.cat([strips, strips[-1:].expand(self.options.batch_size - pairs, -1, -1, -1)])
        memory_format = torch.channels_last if self.options.channels_last else torch.contiguous_format
        return self._forward(strips.contiguous(memory_format=memory_format), video.ocr_part, video.spatial)[:pairs].clone()

    def _halve_batch(self, shortage: str) -> None:
        if self.options.batch_size == 1:
            raise TransientError(f"{self.options.device}: out of memory with one pair a batch: {shortage}")
        smaller = self.options.batch_size // 2
        log.warning("engine.out_of_memory", batch_size=self.options.batch_size, next_batch_size=smaller, device=self.options.device)
        self.options = replace(self.options, batch_size=smaller)
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

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

    def _run_blank(self) -> None:
        """One batch of black strips, from the first step of a video to the last."""
        with torch.inference_mode():
            frames = np.zeros((self.options.batch_size + 1, HEIGHT, WIDTH, 3), np.uint8)
            strip = torch.zeros((1, 3, HEIGHT, WIDTH), dtype=torch.uint8, device=self._device)
            blank = Video(Anchor.CENTER, self.classifier.ocr_part(strip), torch.zeros((1, 6), device=self._device))
            self._predict_batches(blank, frames).cpu()


def _frozen(wanted: bool) -> AbstractContextManager[None]:
    """Within it, compiling makes constants of weights: in oneDNN's own order, with sums and ReLUs inside its convolutions.

    Not by ``torch.compile``'s options: the tracer, which does not see those, would hand the weights over as inputs, and
    nothing would be frozen.
    """
    return torch._inductor.config.patch(freezing=wanted)  # type: ignore[no-any-return]  # torch has no types for it


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
