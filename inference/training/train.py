"""Trains the built-in model.

Beside the labels the network learns two maps, which it does not need in use and which make it learn much faster: where
captions cover a frame, and where those of two frames differ.
"""

import copy
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Final

import click
import torch
from torch import distributed, nn
from torch.multiprocessing.spawn import spawn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from inference.architectures.builtin import Block, SiameseStrip
from inference.training.batches import STRIDES, Batch, draw_batches
from inference.training.data import TrainingSet, open_training_set

_MAP_WEIGHT: Final = 0.5
_MEAN_STEP: Final = 0.005
_REPORT_SECONDS: Final = 20


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """Attributes:
    passes: times that each clip is drawn from.
    clips_per_batch: of each of which nine frames are taken.
    processes: that share every batch.
    """

    passes: int = 8
    clips_per_batch: int = 16
    processes: int = 2
    peak_rate: float = 4e-3
    weight_decay: float = 0.02
    seed: int = 1


class Trainee(nn.Module):
    """The network with batch norms and the two heads that only training has."""

    def __init__(self) -> None:
        super().__init__()
        self.network = SiameseStrip(norm=True)
        self.cover_head = nn.Conv2d(64, 1, 1)
        self.change_head = nn.Conv2d(80, 1, 1)

    def loss(self, batch: Batch) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            features = self.network.encode(batch.canvases.flatten(0, 1))
            runs = features.view(*batch.canvases.shape[:2], *features.shape[1:])
            contrasts = torch.cat([self.network.contrast(runs, stride) for stride in STRIDES])
            logits = self.network.decide(contrasts)
            covers, changes = self.cover_head(features)[:, 0], self.change_head(contrasts)[:, 0]
        labels = functional.cross_entropy(logits.float(), batch.labels, reduction="none", label_smoothing=0.01)
        return (labels * batch.weights).mean() + _MAP_WEIGHT * (_cover_loss(covers, batch) + _change_loss(changes, batch))


def _cover_loss(found: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Against the share of each cell of the features, 8 × 8 pixels of the canvas, that captions cover."""
    truth = functional.max_pool2d(batch.cover.flatten(0, 1), 2)
    return functional.binary_cross_entropy_with_logits(found.float(), truth)


def _change_loss(found: torch.Tensor, batch: Batch) -> torch.Tensor:
    truths = []
    for stride in STRIDES:
        apart = (batch.cover[:, :-stride] - batch.cover[:, stride:]).abs().flatten(0, 1)
        truths += 2 * [functional.max_pool2d(apart, (2, 4))]
    return functional.binary_cross_entropy_with_logits(found.float(), torch.cat(truths))


def train(clips: Path, options: TrainingOptions, state: Path, start_from: Path | None = None) -> SiameseStrip:
    """Train from scratch, or go on from the state that ``start_from`` holds, and return the network as it is run.

    Each of ``options.processes`` computes its share of every batch with one thread: where others use the machine too,
    threads that wait for each other at every layer take many times as long. Deterministic for a seed and a number of
    processes, as far as the processor's kernels are.

    Args:
        clips: folder of the training set.
        state: file that takes the training state every eighth of the way, to be looked at or gone on from.
    """
    with TemporaryDirectory() as meeting:
        address = f"file://{meeting}/meeting"
        spawn(_train_part, (address, clips, options, state, start_from), options.processes)  # type: ignore[no-untyped-call]  # torch's
    return load_state(state)


def load_state(state: Path) -> SiameseStrip:
    """The network of a training state, as it is run."""
    trainee = Trainee()
    trainee.load_state_dict(torch.load(state, weights_only=True))
    return fold(trainee.network)


def _train_part(part: int, address: str, clips: Path, options: TrainingOptions, state: Path, start_from: Path | None) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    distributed.init_process_group("gloo", init_method=address, rank=part, world_size=options.processes)
    data = open_training_set(clips)
    trainee = Trainee()
    if start_from is not None:
        trainee.load_state_dict(torch.load(start_from, weights_only=True))
    trainee = trainee.to(memory_format=torch.channels_last)
    mean = copy.deepcopy(trainee)
    steps = options.passes * (len(data) // options.clips_per_batch)
    optimiser = torch.optim.AdamW(trainee.parameters(), weight_decay=options.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, options.peak_rate, total_steps=steps, pct_start=0.15)
    progress = _Progress(steps, part)
    for step, batch in enumerate(_prefetch(_all_batches(data, options, part)), start=1):
        optimiser.zero_grad(set_to_none=True)
        loss = trainee.loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        _share_gradients(trainee, options.processes)
        nn.utils.clip_grad_norm_(trainee.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        _approach(mean, trainee, max(_MEAN_STEP, 9 / (9 + step)))  # at first the mean follows closely
        progress.report(step, float(loss.detach()))
        if part == 0 and (step % max(1, steps // 8) == 0 or step == steps):
            torch.save(mean.state_dict(), state)
    distributed.destroy_process_group()


def _share_gradients(trainee: Trainee, processes: int) -> None:
    """Give every process the mean of all processes' gradients."""
    gradients = [parameter.grad for parameter in trainee.parameters() if parameter.grad is not None]
    together = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(together)
    for gradient, shared in zip(gradients, torch.split(together, [gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(shared.view_as(gradient) / processes)


class _Progress:
    """Says now and then how far training is; only the first process speaks."""

    def __init__(self, steps: int, part: int) -> None:
        self._steps, self._speaks = steps, part == 0
        self._began = self._reported = time.monotonic()
        self._losses: deque[float] = deque(maxlen=100)

    def report(self, step: int, loss: float) -> None:
        self._losses.append(loss)
        now = time.monotonic()
        if self._speaks and (now - self._reported > _REPORT_SECONDS or step == self._steps):
            self._reported = now
            click.echo(f"step {step} of {self._steps}, {now - self._began:.0f} s: loss {sum(self._losses) / len(self._losses):.4f}")


def fold(network: SiameseStrip) -> SiameseStrip:
    """The same function without batch norms."""
    folded = SiameseStrip()
    source = copy.deepcopy(network).eval()
    for module in source.modules():
        if isinstance(module, Block) and isinstance(module.norm, nn.BatchNorm2d):
            module.conv, module.norm = fuse_conv_bn_eval(module.conv, module.norm), nn.Identity()
    folded.load_state_dict(source.state_dict())
    return folded


@torch.no_grad()
def _approach(mean: Trainee, trainee: Trainee, share: float) -> None:
    """Move ``mean`` by a share of the way to the trained network: it generalises better than any one step's weights."""
    for kept, new in zip(mean.state_dict().values(), trainee.state_dict().values(), strict=True):
        if kept.is_floating_point():
            kept.lerp_(new, share)


def _all_batches(data: TrainingSet, options: TrainingOptions, part: int) -> Iterator[Batch]:
    for number in range(options.passes):
        yield from draw_batches(data, options.clips_per_batch, (options.seed, number), part, options.processes)


def _prefetch(batches: Iterator[Batch], depth: int = 3) -> Iterator[Batch]:
    """Draw the next batches in a thread while the network works on this one."""
    queue: Queue[Batch | None] = Queue(depth)

    def fill() -> None:
        try:
            for batch in batches:
                queue.put(batch)
        finally:
            queue.put(None)

    Thread(target=fill, daemon=True).start()
    while (batch := queue.get()) is not None:
        yield batch
