"""Compares the whole worker, from store to result, with decoding and predicting the same frames in this process on the same cores."""

import asyncio
import io
import statistics
import sys
import time
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from benchmarks.cores import Cores, held_to
from benchmarks.decoding import encode_chunk
from benchmarks.installation import RunTimes, Service, StoredVideo, open_service, peak_memory_mib, throwaway_stack
from benchmarks.measure import ROUNDS, median_ratio
from benchmarks.results import Result, Value
from benchmarks.strips import synthetic_layout, synthetic_strips
from benchmarks.weights import build_content
from core.frames import plan_chunks, plan_spans, span_chunks
from core.settings import Settings
from devstack.stack import OwnedStack
from inference.engine.device import pick_device
from inference.engine.predictor import Checkpoint, EngineOptions, Predictor
from inference.media.span import decode_span
from inference.models.builtin import builtin_checkpoint_path, builtin_model_version
from inference.models.checkpoint import read_checkpoint
from inference.models.loading import load_predictor

STRIP: Final = (100, 1440)  # larger than most, so that the cost of fetching and decoding is not understated
_STRIPS_APART: Final = 64  # strips before they repeat; drawing one takes longer than decoding it
_BUILTIN_FRAMES: Final = 4 * 512 + 1  # four spans, so that the stages of three overlap
_PRODUCTION_FRAMES: Final = 129  # as many pairs as a CPU computes in some ten seconds
_PRODUCTION_VERSION: Final = "conformance"


@dataclass(frozen=True, slots=True)
class Job:
    """One model's turn."""

    name: str
    model_version: str
    predictor: Predictor
    video: StoredVideo


@dataclass(frozen=True, slots=True)
class Measured:
    """By round: pairs per second in this process and in the worker, and the duration of the whole run."""

    alone: list[float]
    worker: list[float]
    runs: list[RunTimes]
    peak_mib: int


def measure_service() -> Result:
    """Measure both models: pairs per second of the worker, of decoding and predicting alone, and their ratio."""
    production = _production_file()
    rows: list[list[Value]] = []
    cores = Cores.halves()
    with held_to(cores.serving), throwaway_stack() as stack, held_to(cores.computing):
        path = stack.folder / "production.pt"
        path.write_bytes(production)
        checkpoint = read_checkpoint(path)
        worker = Settings().worker
        options = EngineOptions(pick_device(), batch_size=worker.batch_size, compile=worker.compile)
        jobs = [
            Job("built-in", builtin_model_version(), load_predictor(builtin_checkpoint_path(), options), _video(_BUILTIN_FRAMES)),
            Job("production architecture", _PRODUCTION_VERSION, load_predictor(checkpoint, options), _video(_PRODUCTION_FRAMES)),
        ]
        for job, measured in zip(jobs, asyncio.run(_measure(stack, cores, jobs, checkpoint, production)), strict=True):
            whole = statistics.median(run.whole for run in measured.runs)
            ratio = median_ratio(measured.worker, measured.alone)
            pairs = job.video.frame_count - 1
            rows.append(
                [job.name, pairs, statistics.median(measured.alone), statistics.median(measured.worker), ratio, whole, measured.peak_mib]
            )
    columns = [
        "model, float32",
        "pairs",
        "decode + predict, pairs/s",
        "worker, pairs/s",
        "ratio",
        "event to completion, s",
        "worker's peak, MiB",
    ]
    notes = [
        f"Strips of {STRIP[1]}×{STRIP[0]}; medians of {ROUNDS} rounds, ratios within each. Worker: from the first span_taken to the last"
        " span_done in the results topic.",
        f"Decode + predict: in this process, span after span, chunks decoded in {worker.decode_threads} threads.",
        f"Both are held to the same cores, {len(cores.computing)} of the machine's; store, broker, database and coordinator to"
        + (" the others." if cores.computing != cores.serving else " them, too."),
        "Event to completion: from publishing video.encoded until inference.completed is read. Peak: resident memory since the start.",
    ]
    return Result("service", "The worker against decoding and predicting alone", columns, rows, notes)


async def _measure(stack: OwnedStack, cores: Cores, jobs: list[Job], checkpoint: Checkpoint, weights: bytes) -> list[Measured]:
    async with open_service(stack) as service, service.process("coordinator", "coordinator", cores.serving):
        await service.push_model(_PRODUCTION_VERSION, weights, checkpoint.sha256, checkpoint.architecture_name)
        return [await _measure_job(service, cores, job, number) for number, job in enumerate(jobs, 1)]


async def _measure_job(service: Service, cores: Cores, job: Job, number: int) -> Measured:
    """Measure both ways in turn with a new worker, so that its peak memory belongs to this model."""
    measured = Measured([], [], [], 0)
    pairs = job.video.frame_count - 1
    async with service.process("gpu", f"worker-{number}", cores.computing) as pid:
        for turn in range(ROUNDS + 1):
            alone = await asyncio.to_thread(_decode_and_predict, job)
            run = await service.run(job.video, job.model_version)
            label = "warm-up" if turn == 0 else f"round {turn} of {ROUNDS}"
            print(f"  {job.name}, {label}: alone {pairs / alone:.3g}/s, worker {pairs / run.working:.3g}/s", file=sys.stderr, flush=True)
            if turn:
                measured.alone.append(pairs / alone)
                measured.worker.append(pairs / run.working)
                measured.runs.append(run)
        return Measured(measured.alone, measured.worker, measured.runs, peak_memory_mib(pid))


def _decode_and_predict(job: Job) -> float:
    """Return the seconds from chunks in memory to probabilities."""
    threads = Settings().worker.decode_threads
    began = time.perf_counter()
    video = job.predictor.open_video(job.video.layout)
    for span in plan_spans(job.video.frame_count):
        chunks = {chunk.name: job.video.chunks[chunk.name] for chunk in span_chunks(span, job.video.frame_count)}
        job.predictor.predict(video, decode_span(span, job.video.frame_count, chunks, threads))
    return time.perf_counter() - began


def _video(frame_count: int) -> StoredVideo:
    strips = synthetic_strips(*STRIP, min(frame_count, _STRIPS_APART))
    encoded: dict[tuple[int, ...], bytes] = {}  # chunks of the same strips need encoding once
    chunks = {}
    for chunk in plan_chunks(frame_count):
        shown = tuple(i % len(strips) for i in chunk.frames)
        if shown not in encoded:
            encoded[shown] = encode_chunk(strips[np.array(shown)])
        chunks[chunk.name] = encoded[shown]
    return StoredVideo(frame_count, chunks, synthetic_layout(*STRIP))


def _production_file() -> bytes:
    """Write a checkpoint in the form that training gives it."""
    file = io.BytesIO()
    torch.save(build_content(), file)
    return file.getvalue()
