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
from torch import distributed, nn
from torch.multiprocessing.spawn import spawn
from torch.nn import functional

from core.labels import EMPTY_EMPTY, SAME
from inference.architectures.siamese_strip import NetworkSize, SiameseStrip
from inference.engine.allocation import disable_heap_trimming
from inference.engine.processor import cpu_has_bfloat16
from inference.models.checkpoint import read_checkpoint
from training.batch_norms import merge_batch_norms, restore_batch_norms
from training.batches import RUN_FRAMES, STRIDES, Batch, Batches, to_canvases
from training.data import TrainingSet, open_training_set
from training.growth import grow

SIZES: Final = {
    "small": NetworkSize(),  # of the packaged weights
    "large": NetworkSize(features=96, details=2, refinements=3, contrasts=112, comparisons=4, gathered=128),  # twice the weights and time
}
_MAP_WEIGHT: Final = 0.5
_GLIMPSE_WEIGHT: Final = 0.3
_UNCLEAR: Final = -1  # in place of the label of a glimpse that shows a little of a caption
_RIGHT: Final = 0.5  # a teacher's least probability of the true label
_MEAN_STEP: Final = 0.005
_REPORT_SECONDS: Final = 20
_CLIPS_FOR_BATCH_NORMS: Final = 64


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """Attributes:
    steps: number of batches.
    clips_per_batch: clips per batch; five frames of each are used.
    processes: number of processes that share every batch.
    size: of the network; a smaller one that training starts from is grown.
    """

    steps: int = 9000
    clips_per_batch: int = 28
    processes: int = 2
    peak_rate: float = 4e-3
    weight_decay: float = 0.02
    seed: int = 1
    size: NetworkSize = SIZES["small"]


class Trainee(nn.Module):
    """The network with batch norms and the two auxiliary heads."""

    def __init__(self, network: SiameseStrip) -> None:
        super().__init__()
        self.network = network
        self.cover_head = nn.Conv2d(network.size.features, 1, 1)
        self.change_head = nn.Conv2d(network.size.contrasts, 1, 1)

    def loss(self, batch: Batch, teacher: SiameseStrip | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss to minimise, and the label loss of each run, (runs,).

        Args:
            teacher: earlier weights, without batch norms. Where they know the kind and are right, their probabilities are learned, too.
        """
        with torch.autocast("cpu", torch.bfloat16, enabled=cpu_has_bfloat16()):
            features, contrasts, logits = _ask(self.network, batch.canvases, batch.glimpses)
            covers, changes = self.cover_head(features)[:, 0], self.change_head(contrasts)[:, 0]
        seen = torch.where(batch.writing < 0, _UNCLEAR, torch.where(batch.writing == 1, SAME, EMPTY_EMPTY))
        truth = torch.cat([batch.labels, seen.repeat(2)])
        wrongness = functional.cross_entropy(logits, truth, reduction="none", ignore_index=_UNCLEAR, label_smoothing=0.01)
        labels, glimpses = wrongness.tensor_split([len(batch.labels)])
        labels = labels * batch.weights
        maps = _MAP_WEIGHT * (_cover_loss(covers, batch) + _change_loss(changes, batch))
        loss = labels.mean() + maps + _GLIMPSE_WEIGHT * glimpses.mean()
        if teacher is not None:
            loss = loss + _lesson(logits, truth, batch, teacher)
        wrong = torch.zeros(len(batch.clips)).index_add(0, batch.runs, labels.detach()) * len(batch.clips) / len(labels)
        return loss, wrong


def _ask(network: SiameseStrip, canvases: torch.Tensor, glimpses: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return all frames' features, their pairs' contrasts, and logits: of the pairs, then of each glimpse paired with itself, both ways."""
    features, seen = network.encode(torch.cat([canvases.flatten(0, 1), glimpses])).tensor_split([len(canvases) * canvases.shape[1]])
    pairs = network.pair(features.view(*canvases.shape[:2], *features.shape[1:]), STRIDES)
    contrasts = network.compare_pairs(torch.cat([pairs, network.pair(torch.stack([seen, seen], 1))]))
    return features, contrasts[: len(pairs)], network.decide(contrasts).float()


def _lesson(logits: torch.Tensor, truth: torch.Tensor, batch: Batch, teacher: SiameseStrip) -> torch.Tensor:
    """Compare with a teacher's probabilities for the kinds that it knows, except where it is wrong."""
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=cpu_has_bfloat16()):
        taught = _ask(teacher, batch.canvases[~batch.later], batch.glimpses[~batch.later])[2].softmax(1)
    known = ~torch.cat([batch.later[batch.runs], batch.later.repeat(2)])
    pairs, glimpses = len(batch.labels), 2 * len(batch.glimpses)
    weights = torch.cat([torch.full((pairs,), 1 / pairs), torch.full((glimpses,), _GLIMPSE_WEIGHT / glimpses)])[known]
    truth = truth[known]
    right = (truth == _UNCLEAR) | (taught.gather(1, truth.clamp(min=0)[:, None])[:, 0] > _RIGHT)
    apart = functional.kl_div(logits[known].log_softmax(1), taught, reduction="none").sum(1)
    return (apart * weights)[right].sum()


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


def train(clips: Path, options: TrainingOptions, state: Path, start_from: Path | None = None, teacher: Path | None = None) -> SiameseStrip:
    """Train from scratch or from ``start_from``, and return the network with merged batch norms.

    Each of ``options.processes`` computes its share of every batch with one thread: on a shared machine, threads that
    synchronise at every layer are many times slower. Deterministic for a seed and a number of processes, as far as the
    processor's kernels are.

    Args:
        clips: folder of the training set.
        state: file for the training state, written after every eighth of the steps.
        start_from: such a state, or stored weights, which contain neither norms nor auxiliary heads.
        teacher: stored weights whose answers to the kinds that they know are learned beside the truth.
    """
    with TemporaryDirectory() as meeting:
        address = f"file://{meeting}/meeting"
        spawn(_train_part, (address, clips, options, state, start_from, teacher), options.processes)  # type: ignore[no-untyped-call]  # torch's
    return load_state(state, options.size)


def load_state(state: Path, size: NetworkSize) -> SiameseStrip:
    """Load the network of a training state, with merged batch norms."""
    trainee = Trainee(SiameseStrip(size, norm=True))
    trainee.load_state_dict(torch.load(state, weights_only=True))
    return merge_batch_norms(trainee.network)


def _train_part(
    part: int, address: str, clips: Path, options: TrainingOptions, state: Path, start_from: Path | None, teacher: Path | None
) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # torch sends it when the parent ends; a shell may have disabled it
    torch.set_num_threads(1)
    disable_heap_trimming()
    torch.manual_seed(options.seed)
    distributed.init_process_group("gloo", init_method=address, rank=part, world_size=options.processes)
    data = open_training_set(clips)
    batches = Batches(data, options.clips_per_batch // options.processes, options.seed, part, options.processes)
    known = (
        None if teacher is None else load_network(teacher).eval().requires_grad_(requires_grad=False).to(memory_format=torch.channels_last)
    )
    trainee = _begin(start_from, options.size, data).to(memory_format=torch.channels_last)
    mean = copy.deepcopy(trainee)
    optimiser = torch.optim.AdamW(trainee.parameters(), weight_decay=options.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, options.peak_rate, total_steps=options.steps, pct_start=0.15)
    progress = _Progress(options.steps, part)
    for step in range(1, options.steps + 1):
        batch = batches.take()
        optimiser.zero_grad(set_to_none=True)
        loss, wrong = trainee.loss(batch, known)
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


def _begin(start_from: Path | None, size: NetworkSize, data: TrainingSet) -> Trainee:
    if start_from is None or start_from.suffix != ".safetensors":
        trainee = Trainee(SiameseStrip(size, norm=True))
        if start_from is not None:
            trainee.load_state_dict(torch.load(start_from, weights_only=True))
        return trainee
    merged = grow(load_network(start_from), size)
    trainee = Trainee(restore_batch_norms(merged, to_canvases(np.array(data.strips[:_CLIPS_FOR_BATCH_NORMS, :RUN_FRAMES]))))
    for head in (trainee.cover_head, trainee.change_head):
        nn.init.zeros_(head.weight)  # untrained heads must not disturb the trained network
    return trainee


def load_network(path: Path) -> SiameseStrip:
    """Load stored weights, of any size."""
    checkpoint = read_checkpoint(path)
    network = SiameseStrip(NetworkSize.parse(checkpoint.config))
    network.load_state_dict(dict(checkpoint.state))
    return network


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
