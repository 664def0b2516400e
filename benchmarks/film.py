"""``python -m benchmarks.film [CLIPS]``: compares ``extents find`` with decoding the film once, and with OCR of every sample.

The film of ten minutes is the demo's, enlarged to 1080p and repeated. CLIPS is a folder with one folder per clip of your own, each with
a ``truth.json``: ``file``, ``crop`` (left, top, right, bottom) and ``captions`` as [start, end] in seconds.
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import av
import numpy as np

from benchmarks.machine import describe_machine
from benchmarks.results import Result, Value
from inference.media.film import open_film
from inference.reading.reader import Reader, open_reader
from tools.sample_film import Sample, make_sample

_FOLDER: Final = Path(".stack/bench-film")
_REPEATS: Final = 10
_SIZE: Final = (1920, 1080)
_OCR_SAMPLES: Final = 640  # the film's first minute: all ten would take hours
_TOLERANCE_SECONDS: Final = 0.101
_WAYS: Final = ("hand", "bottom-fifth", "bottom-third", "none")

Extent = tuple[float, float]


def main() -> None:
    clips = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    machine = describe_machine()
    for result in [measure_speed(), measure_readers(), *([measure_clips(clips)] if clips else [])]:
        print(result.table(), flush=True)
        if result.name != "film-clips":  # clips of one's own are one's own
            result.write(machine)


def measure_speed() -> Result:
    """Measure the seconds for ten minutes of 1080p, start-up included."""
    film = _long_film(_sample())
    decoding = _seconds(lambda: _decode(film))
    finding = _seconds(lambda: _find(film))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    reading = _seconds(lambda: _find(film, "--text"))
    rows: list[list[Value]] = [
        ["decoding once, nothing else", decoding, 1.0],
        ["extents find", finding, finding / decoding],
        ["extents find --text", reading, reading / decoding],
    ]
    return Result(
        "film", "A film of ten minutes, 1080p", ["", "seconds", "÷ decoding"], rows, [f"Largest memory of find: {peak:,.0f} MiB."]
    )


def measure_readers() -> Result:
    """Count correct captions and characters in the demo's film: by find, and by OCR of every sample joined by equal text."""
    sample = _sample()
    truth = [(caption.first_frame / 10, (caption.last_frame + 1) / 10) for caption in sample.captions]
    words = [caption.text for caption in sample.captions]
    began = time.perf_counter()
    found = [caption for caption in _find(sample.path, "--text")["captions"] if caption["doubtful"] is None]
    finding = time.perf_counter() - began
    reader = open_reader()
    began = time.perf_counter()
    read = _read_every_sample(sample, reader)
    ocr = time.perf_counter() - began
    ours = [((c["start_seconds"], c["end_seconds"]), c["text"] or "") for c in found]
    rows: list[list[Value]] = [
        _reader_row("extents find --text", finding, ours, truth, words),
        _reader_row("RapidOCR on every sample of the strip", ocr, read, truth, words),
    ]
    columns = ["", "seconds", "captions", "right within a sample", "spurious", "character errors, %"]
    return Result("film-readers", f"The demo's film, {len(truth)} captions", columns, rows)


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
            found = _find(truth_file.parent / truth["file"], *(["--crop", crop] if crop else []))["captions"]
            extents = [(c["start_seconds"], c["end_seconds"]) for c in found if c["doubtful"] is None]
            right, spurious = _right(extents, captions), _spurious(extents, captions)
            totals[way][0] += right
            totals[way][1] += spurious
            row.append(f"{right} / {spurious}")
        rows.append(row)
    rows.append(["all", expected, *(f"{right} / {spurious}" for right, spurious in totals.values())])
    return Result("film-clips", "Clips: right within a sample / spurious", ["clip", "true", *(f"crop: {way}" for way in _WAYS)], rows)


def _find(film: Path, *options: str) -> dict[str, Any]:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("extents")), "find", str(film), "--json", *options], check=True, stdout=subprocess.PIPE
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _decode(film: Path) -> None:
    with av.open(film) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for _ in container.decode(stream):
            pass


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _sample() -> Sample:
    _FOLDER.mkdir(parents=True, exist_ok=True)
    return make_sample(_FOLDER / "sample.mp4")


def _long_film(sample: Sample) -> Path:
    """Enlarge the sample, and repeat its packets: encoding ten minutes of film would take several minutes."""
    path = _FOLDER / "ten-minutes.mp4"
    large = _FOLDER / "large.mp4"
    if path.exists():
        return path
    with av.open(sample.path) as film, av.open(large, "w") as container:
        source = film.streams.video[0]
        stream = container.add_stream("libx264", rate=source.average_rate, options={"preset": "veryfast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = *_SIZE, "yuv420p"
        for frame in film.decode(source):
            container.mux(stream.encode(frame.reformat(*_SIZE, "yuv420p")))
        container.mux(stream.encode(None))
    partial = path.with_name("partial.mp4")
    with av.open(partial, "w") as container:
        target, offset = None, 0
        for _ in range(_REPEATS):
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


def _read_every_sample(sample: Sample, reader: Reader) -> list[tuple[Extent, str]]:
    """Do what a user would do without this project: OCR of the strip ten times a second, with equal neighbours joined."""
    box, texts = sample.crop, list[_Sampled]()
    with open_film(sample.path) as film:
        for number, picture in enumerate(film.pictures()):
            if number == _OCR_SAMPLES:
                break
            strip = np.ascontiguousarray(picture[box.top : box.bottom, box.left : box.right])
            texts.append(_Sampled(number / 10, reader.read(strip).text))
    found: list[tuple[Extent, str]] = []
    for text, group in groupby(texts, key=lambda item: item.text):
        members = list(group)
        if text:
            found.append(((members[0].seconds, members[-1].seconds + 0.1), text))
    return found


def _reader_row(
    name: str, seconds: float, found: Sequence[tuple[Extent, str]], truth: Sequence[Extent], words: Sequence[str]
) -> list[Value]:
    extents = [extent for extent, _ in found]
    errors = total = 0
    for (start, end), true in zip(truth, words, strict=True):
        overlapping = [(min(end, e) - max(start, s), text) for (s, e), text in found if min(end, e) > max(start, s)]
        read = max(overlapping)[1] if overlapping else ""
        errors += _distance("".join(true.split()), "".join(read.split()))
        total += len("".join(true.split()))
    return [name, seconds, len(found), _right(extents, truth), _spurious(extents, truth), 100 * errors / total]


def _distance(one: str, other: str) -> int:
    """Count the characters to replace, insert or delete, as difflib aligns them."""
    blocks = SequenceMatcher(None, one, other, autojunk=False).get_opcodes()
    return sum(max(b - a, d - c) for kind, a, b, c, d in blocks if kind != "equal")


def _right(found: Sequence[Extent], truth: Sequence[Extent]) -> int:
    return sum(any(all(abs(a - b) <= _TOLERANCE_SECONDS for a, b in zip(one, true, strict=True)) for one in found) for true in truth)


def _spurious(found: Sequence[Extent], truth: Sequence[Extent]) -> int:
    """Count captions that true captions cover by less than half."""
    return sum(sum(max(0.0, min(end, e) - max(start, s)) for s, e in truth) < (end - start) / 2 for start, end in found)


if __name__ == "__main__":
    main()
