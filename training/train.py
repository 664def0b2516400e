"""Trains the built-in model.

Besides the labels the network learns two auxiliary maps, which make it learn much faster: where captions cover a frame,
and where the captions of two frames differ.
"""

import copy
import signal
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import click
import numpy as np
import torch
from safetensors.torch import load_file
from torch import distributed, nn
from torch.multiprocessing.spawn import spawn
from torch.nn import functional

from inference.architectures.siamese_strip import SiameseStrip
from inference.engine.allocation import disable_heap_trimming
from inference.engine.processor import cpu_has_bfloat16
from training.batch_norms import merge_batch_norms, restore_batch_norms
from training.batches import RUN_FRAMES, STRIDES, Batch, Batches, to_canvases
from training.data import TrainingSet, open_training_set

_MAP_WEIGHT: Final = 0.5
_MEAN_STEP: Final = 0.005
_REPORT_SECONDS: Final = 20
_CLIPS_FOR_BATCH_NORMS: Final = 64


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """Attributes:
    steps: number of batches.
    clips_per_batch: clips per batch; five frames of each are used.
    processes: number of processes that share every batch.
    """

    steps: int = 9000
    clips_per_batch: int = 28
    processes: int = 2
    peak_rate: float = 4e-3
    weight_decay: float = 0.02
    seed: int = 1


class Trainee(nn.Module):
    """The network with batch norms and the two auxiliary heads."""

    def __init__(self, network: SiameseStrip | None = None) -> None:
        super().__init__()
        self.network = network or SiameseStrip(norm=True)
        self.cover_head = nn.Conv2d(64, 1, 1)
        self.change_head = nn.Conv2d(80, 1, 1)

    def loss(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss to minimise, and the label loss of each run, (runs,)."""
        with torch.autocast("cpu", torch.bfloat16, enabled=cpu_has_bfloat16()):
            features = self.network.encode(batch.canvases.flatten(0, 1))
            contrasts = self.network.contrast(features.view(*batch.canvases.shape[:2], *features.shape[1:]), STRIDES)
            logits = self.network.decide(contrasts)
            covers, changes = self.cover_head(features)[:, 0], self.change_head(contrasts)[:, 0]
        labels = functional.cross_entropy(logits.float(), batch.labels, reduction="none", label_smoothing=0.01) * batch.weights
        maps = _MAP_WEIGHT * (_cover_loss(covers, batch) + _change_loss(changes, batch))
        wrong = torch.zeros(len(batch.clips)).index_add(0, batch.runs, labels.detach()) * len(batch.clips) / len(labels)
        return labels.mean() + maps, wrong


def _cover_loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Compare with the share of each feature cell (8 × 8 pixels of the canvas) that captions cover."""
    truth = functional.max_pool2d(batch.cover.flatten(0, 1), 2)
    return functional.binary_cross_entropy_with_logits(logits.float(), truth)


def _change_loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    truths = []
    for stride in STRIDES:
        apart = (batch.cover[:, :-stride] - batch.cover[:, stride:]).abs().flatten(0, 1)
        truths += 2 * [functional.max_pool2d(apart, (2, 4))]
    return functional.binary_cross_entropy_with_logits(logits.float(), torch.cat(truths))


def train(clips: Path, options: TrainingOptions, state: Path, start_from: Path | None = None) -> SiameseStrip:
    """Train from scratch or from ``start_from``, and return the network with merged batch norms.

    Each of ``options.processes`` computes its share of every batch with one thread: on a shared machine, threads that
    synchronise at every layer are many times slower. Deterministic for a seed and a number of processes, as far as the
    processor's kernels are.

    Args:
        clips: folder of the training set.
        state: file for the training state, written after every eighth of the steps.
        start_from: such a state, or stored weights, which contain neither norms nor auxiliary heads.
    """
    with TemporaryDirectory() as meeting:
        address = f"file://{meeting}/meeting"
        spawn(_train_part, (address, clips, options, state, start_from), options.processes)  # type: ignore[no-untyped-call]  # torch's
    return load_state(state)


def load_state(state: Path) -> SiameseStrip:
    """Load the network of a training state, with merged batch norms."""
    trainee = Trainee()
    trainee.load_state_dict(torch.load(state, weights_only=True))
    return merge_batch_norms(trainee.network)


def _train_part(part: int, address: str, clips: Path, options: TrainingOptions, state: Path, start_from: Path | None) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # torch sends it when the parent ends; a shell may have disabled it
    torch.set_num_threads(1)
    disable_heap_trimming()
    torch.manual_seed(options.seed)
    distributed.init_process_group("gloo", init_method=address, rank=part, world_size=options.processes)
    data = open_training_set(clips)
    batches = Batches(data, options.clips_per_batch // options.processes, options.seed, part, options.processes)
    trainee = _begin(start_from, data).to(memory_format=torch.channels_last)
    mean = copy.deepcopy(trainee)
    optimiser = torch.optim.AdamW(trainee.parameters(), weight_decay=options.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, options.peak_rate, total_steps=options.steps, pct_start=0.15)
    progress = _Progress(options.steps, part)
    for step in range(1, options.steps + 1):
        batch = batches.take()
        optimiser.zero_grad(set_to_none=True)
        loss, wrong = trainee.loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        batches.record_losses(batch, wrong)
        _share_gradients(trainee, options.processes)
        nn.utils.clip_grad_norm_(trainee.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        _approach(mean, trainee, max(_MEAN_STEP, 9 / (9 + step)))  # follow closely at first
        progress.report(step, float(loss.detach()))
        if part == 0 and (step % max(1, options.steps // 8) == 0 or step == options.steps):
            torch.save(mean.state_dict(), state)
    batches.close()
    distributed.destroy_process_group()


def _begin(start_from: Path | None, data: TrainingSet) -> Trainee:
    if start_from is None:
        return Trainee()
    if start_from.suffix != ".safetensors":
        trainee = Trainee()
        trainee.load_state_dict(torch.load(start_from, weights_only=True))
        return trainee
    merged = SiameseStrip()
    merged.load_state_dict(load_file(start_from))
    trainee = Trainee(restore_batch_norms(merged, to_canvases(np.array(data.strips[:_CLIPS_FOR_BATCH_NORMS, :RUN_FRAMES]))))
    for head in (trainee.cover_head, trainee.change_head):
        nn.init.zeros_(head.weight)  # untrained heads must not disturb the trained network
    return trainee


def _share_gradients(trainee: Trainee, processes: int) -> None:
    """Average the gradients over all processes."""
    gradients = [parameter.grad for parameter in trainee.parameters() if parameter.grad is not None]
    together = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(together)
    for gradient, shared in zip(gradients, torch.split(together, [gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(shared.view_as(gradient) / processes)


class _Progress:
    """Reports progress regularly, from the first process only."""

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


@torch.no_grad()
def _approach(mean: Trainee, trainee: Trainee, share: float) -> None:
    """Move the average towards the current weights: it generalises better than the weights of any single step."""
    for kept, new in zip(mean.state_dict().values(), trainee.state_dict().values(), strict=True):
        if kept.is_floating_point():
            kept.lerp_(new, share)
