"""``python -m benchmarks.film [CLIPS] [--minutes N]``: compares ``extents find`` with decoding the film once, and with OCR of every sample.

The film is the demo's, enlarged to 1080p and repeated. CLIPS is a folder with one folder per clip of your own, each with
a ``truth.json``: ``file``, ``crop`` (left, top, right, bottom) and ``captions`` as [start, end] in seconds. A caption is right if the
first and the last of the samples at 10 Hz that show it are those of the truth, give or take one: truths are read off samples.
"""

import argparse
import json
import math
import re
import shlex
import sys
import time
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import av
import numpy as np

from benchmarks.machine import describe_machine
from benchmarks.processes import Measured, measure_process
from benchmarks.results import Result, Value
from core.types import FRAMES_PER_SECOND
from inference.media.film import open_film
from inference.reading.reader import Reader, open_reader
from tools.sample_film import Sample, make_sample

_FOLDER: Final = Path(".stack/bench-film")
_MINUTES: Final = 10
_SIZE: Final = (1920, 1080)
_OCR_SECONDS: Final = 64  # of film: each sample takes a second or two
_TOLERANCE_SAMPLES: Final = 1
_WAYS: Final = ("hand", "bottom-fifth", "bottom-third", "none")

Extent = tuple[float, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="?", type=Path, metavar="CLIPS", help="folder of your own clips with known captions")
    parser.add_argument("--minutes", type=int, default=_MINUTES, help="length of the film; default: %(default)s")
    parser.add_argument("--ocr-seconds", type=int, default=_OCR_SECONDS, help="how much of the demo's film OCR reads; default: %(default)s")
    parser.add_argument(
        "--extractor",
        metavar="NAME=COMMAND",
        help="also compare with another program: COMMAND FILM writes the demo's captions to stdout as SRT",
    )
    parser.add_argument("--part", choices=("speed", "readers", "clips"), help="measure only this part")
    arguments = parser.parse_args()
    machine = describe_machine()
    if arguments.part in (None, "speed"):
        _show(measure_speed(arguments.minutes), machine)
    if arguments.part in (None, "readers"):
        _show(measure_readers(arguments.ocr_seconds, arguments.extractor), machine)
    if arguments.clips and arguments.part in (None, "clips"):
        print(measure_clips(arguments.clips).table(), flush=True)  # nothing is written about a user's own clips


def _show(result: Result, machine: dict[str, object]) -> None:
    print(result.table(), flush=True)
    result.write(machine)


def measure_speed(minutes: int) -> Result:
    """Measure the seconds for a 1080p film, start-up included."""
    film = _long_film(_sample(), minutes)
    begin = measure_process([sys.executable, "-c", _DECODE, str(film)])
    finding = measure_process(_find_command(film))
    reading = measure_process(_find_command(film, "--text"))
    end = measure_process([sys.executable, "-c", _DECODE, str(film)])
    decoding = Measured((begin.seconds + end.seconds) / 2, (begin.cpu_seconds + end.cpu_seconds) / 2, end.peak_mib, b"")
    runs = {"decoding once, nothing else": decoding, "extents find": finding, "extents find --text": reading}
    rows: list[list[Value]] = [
        [name, run.seconds, run.seconds / decoding.seconds, run.cpu_seconds, run.cpu_seconds / decoding.cpu_seconds]
        for name, run in runs.items()
    ]
    return Result(
        "film",
        f"A film of {minutes} minutes, 1080p",
        ["", "seconds", "÷ decoding", "CPU seconds", "÷ decoding"],
        rows,
        [
            "Each in a process of its own, start-up included. Decoding is the mean of a run before the others and one after them.",
            f"Largest memory of find: {finding.peak_mib:,.0f} MiB; of decoding: {decoding.peak_mib:,.0f} MiB.",
        ],
    )


def measure_readers(seconds: int, extractor: str | None = None) -> Result:
    """Count correct captions and characters in the demo's film: by find, by OCR of every sample, and by another program."""
    sample = _sample()
    captions = [caption for caption in sample.captions if (caption.last_frame + 1) / 10 <= seconds]
    truth = [(caption.first_frame / 10, (caption.last_frame + 1) / 10) for caption in captions]
    words = [caption.text for caption in captions]
    finding = measure_process(_find_command(sample.path, "--text"))
    shown = [c for c in json.loads(finding.output)["captions"] if c["doubtful"] is None and c["start_seconds"] < seconds]
    ours = [((c["start_seconds"], c["end_seconds"]), c["text"] or "") for c in shown]
    reader = open_reader()
    began = time.process_time()
    read = _read_every_sample(sample, reader, 10 * seconds)
    ocr_cpu_seconds = time.process_time() - began
    length = sample.frame_count / 10
    rows: list[list[Value]] = [
        _reader_row("extents find --text", finding.cpu_seconds / length, ours, truth, words),
        _reader_row("RapidOCR on every sample of the strip", ocr_cpu_seconds / min(seconds, length), read, truth, words),
    ]
    if extractor:
        name, _, command = extractor.partition("=")
        other = measure_process([*shlex.split(command), str(sample.path)])
        cues = [(extent, text) for extent, text in _read_srt(other.output.decode()) if extent[0] < seconds]
        rows.append(_reader_row(name, other.cpu_seconds / length, cues, truth, words))
    columns = [
        "",
        "CPU seconds for a second of film",
        "captions",
        "right within a sample",
        "spurious",
        "character errors in Latin script, %",
    ]
    return Result("film-readers", f"The first {seconds} s of the demo's film, {len(truth)} captions that end by then", columns, rows)


def measure_clips(folder: Path) -> Result:
    """Count correct and spurious captions in clips with known truth, for each way to choose the crop."""
    rows: list[list[Value]] = []
    totals = {way: [0, 0] for way in _WAYS}
    expected = 0
    for truth_file in sorted(folder.glob("*/truth.json")):
        truth = json.loads(truth_file.read_text())
        captions: list[Extent] = [(start, end) for start, end in truth["captions"]]
        expected += len(captions)
        row: list[Value] = [truth_file.parent.name, len(captions)]
        for way in _WAYS:
            crop = {"hand": ",".join(map(str, truth["crop"])), "none": None}.get(way, way)
            answer = _find(truth_file.parent / truth["file"], *(["--crop", crop] if crop else []))
            extents = [(c["start_seconds"], c["end_seconds"]) for c in answer["captions"] if c["doubtful"] is None]
            right, spurious = _right(extents, captions), _spurious(extents, captions)
            totals[way][0] += right
            totals[way][1] += spurious
            row.append(f"{right} / {spurious}")
        rows.append(row)
    rows.append(["all", expected, *(f"{right} / {spurious}" for right, spurious in totals.values())])
    return Result("film-clips", "Clips: right within a sample / spurious", ["clip", "true", *(f"crop: {way}" for way in _WAYS)], rows)


_DECODE: Final = """
import sys
import av
with av.open(sys.argv[1]) as container:
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    for _ in container.decode(stream):
        pass
"""
"""Decodes a film as fast as PyAV can."""


def _find_command(film: Path, *options: str) -> list[str]:
    return [str(Path(sys.executable).with_name("extents")), "find", str(film), "--json", *options]


def _find(film: Path, *options: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(measure_process(_find_command(film, *options)).output)
    return answer


def _sample() -> Sample:
    _FOLDER.mkdir(parents=True, exist_ok=True)
    return make_sample(_FOLDER / "sample.mp4")


def _large_film(sample: Sample) -> Path:
    """Enlarge the sample to 1080p."""
    path = _FOLDER / "large.mp4"
    if path.exists():
        return path
    partial = path.with_name("partial-large.mp4")
    with av.open(sample.path) as film, av.open(partial, "w") as container:
        source = film.streams.video[0]
        stream = container.add_stream("libx264", rate=source.average_rate, options={"preset": "veryfast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = *_SIZE, "yuv420p"
        for frame in film.decode(source):
            container.mux(stream.encode(frame.reformat(*_SIZE, "yuv420p")))
        container.mux(stream.encode(None))
    return partial.rename(path)


def _long_film(sample: Sample, minutes: int) -> Path:
    """Repeat the packets of a film of a little over a minute: encoding ten minutes would take several minutes."""
    path = _FOLDER / f"{minutes}-minutes.mp4"
    if path.exists():
        return path
    large = _large_film(sample)
    partial = path.with_name("partial.mp4")
    with av.open(partial, "w") as container:
        target, offset = None, 0
        for _ in range(minutes):
            with av.open(large) as film:
                source = film.streams.video[0]
                target = target or container.add_stream_from_template(source)
                end = 0
                for packet in film.demux(source):
                    if packet.dts is None or packet.pts is None:
                        continue
                    packet.pts, packet.dts, packet.stream = packet.pts + offset, packet.dts + offset, target
                    end = max(end, packet.pts + (packet.duration or 0))
                    container.mux(packet)
                offset = end
    return partial.rename(path)


@dataclass(frozen=True, slots=True)
class _Sampled:
    seconds: float
    text: str


def _read_every_sample(sample: Sample, reader: Reader, samples: int) -> list[tuple[Extent, str]]:
    """Do what a user would do without this project: OCR of the strip ten times a second, with equal neighbours joined."""
    box, texts = sample.crop, list[_Sampled]()
    with open_film(sample.path) as film:
        for number, picture in enumerate(film.pictures()):
            if number == samples:
                break
            strip = np.ascontiguousarray(picture[box.top : box.bottom, box.left : box.right])
            texts.append(_Sampled(number / 10, reader.read(strip).text))
    captions: list[tuple[Extent, str]] = []
    for text, group in groupby(texts, key=lambda item: item.text):
        members = list(group)
        if text:
            captions.append(((members[0].seconds, members[-1].seconds + 0.1), text))
    return captions


def _read_srt(content: str) -> list[tuple[Extent, str]]:
    """Read start, end and text of each cue."""
    time_of_day = r"(\d+):(\d\d):(\d\d),(\d\d\d)"
    cues = []
    for *times, text in re.findall(rf"^{time_of_day} --> {time_of_day}\n(.*?)(?:\n\n|\Z)", content, re.MULTILINE | re.DOTALL):
        start, end = (int(h) * 3600 + int(m) * 60 + int(s) + int(ms) / 1000 for h, m, s, ms in (times[:4], times[4:]))
        cues.append(((start, end), text.strip()))
    return cues


def _reader_row(
    name: str, cost: float, captions: Sequence[tuple[Extent, str]], truth: Sequence[Extent], words: Sequence[str]
) -> list[Value]:
    extents = [extent for extent, _ in captions]
    errors = total = 0
    for (start, end), true in zip(truth, words, strict=True):
        if not _is_latin(true):  # the installed networks read no other alphabet
            continue
        overlapping = [(min(end, e) - max(start, s), text) for (s, e), text in captions if min(end, e) > max(start, s)]
        read = max(overlapping)[1] if overlapping else ""
        errors += _distance("".join(true.split()), "".join(read.split()))
        total += len("".join(true.split()))
    return [name, cost, len(captions), _right(extents, truth), _spurious(extents, truth), 100 * errors / max(1, total)]


def _is_latin(text: str) -> bool:
    return all(unicodedata.name(character).startswith("LATIN") for character in text if character.isalpha())


def _distance(text: str, other: str) -> int:
    """Count the characters to replace, insert or delete, as difflib aligns them."""
    blocks = SequenceMatcher(None, text, other, autojunk=False).get_opcodes()
    return sum(max(b - a, d - c) for kind, a, b, c, d in blocks if kind != "equal")


def _right(extents: Sequence[Extent], truth: Sequence[Extent]) -> int:
    sampled = [_samples(extent) for extent in extents]
    return sum(
        any(all(abs(a - b) <= _TOLERANCE_SAMPLES for a, b in zip(ours, _samples(true), strict=True)) for ours in sampled) for true in truth
    )


def _samples(extent: Extent) -> tuple[int, int]:
    """Return the first sample at 10 Hz that shows a caption, and the first one after it that does not."""
    first, end = (math.ceil(FRAMES_PER_SECOND * seconds - 0.01) for seconds in extent)
    return first, end


def _spurious(extents: Sequence[Extent], truth: Sequence[Extent]) -> int:
    """Count captions that true captions cover by less than half."""
    return sum(sum(max(0.0, min(end, e) - max(start, s)) for s, e in truth) < (end - start) / 2 for start, end in extents)


if __name__ == "__main__":
    main()
