"""The training set: many short clips on the network's canvas, in memory-mapped arrays.

Each clip depends only on the seed and its number, so the set does not depend on the number of processes.
"""

import json
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from inference.architectures.siamese_strip import CANVAS, to_canvas
from training.pictures import PINS, installed_photos, installed_shots
from training.synthetic.clip import Clip, Stage, make_clip
from training.synthetic.codec import store
from training.synthetic.fonts import TRAINING_FAMILIES, FontShelf
from training.synthetic.ground import TRAINING_PHOTOS, TRAINING_SHOTS, Strips
from training.synthetic.kinds import PLAIN, RECIPES, Kind

CLIP_FRAMES: Final = 12
COVER: Final = (8, 128)  # height, width of the map of what captions cover: a quarter of the canvas
FOOTAGE_SHARE: Final = 0.4  # of the backgrounds: little footage is available
PHOTO_SHARE: Final = 0.35  # the rest are generated textures
_HARD: Final = (
    Kind.BOXES,
    *2 * (Kind.FADES, Kind.ONE_WORD),
    *3 * (Kind.SIGNS,),
    Kind.THIN,
    Kind.COMPRESSION,
    Kind.CHINESE,
    Kind.JAPANESE,
    Kind.TWO_LINES,
)
_SHORT: Final = replace(PLAIN, words=(1, 2), own_box=0.7, sign=0.4, logo=0.25)  # the captions that are most like signs
_BOARDS: Final = replace(PLAIN, words=(1, 3), own_box=0.4, captionless=0.4, sign=0.9, logo=0.4)  # the signs that are most like captions
_ENDINGS: Final = replace(  # the captions that are most like the one before
    RECIPES[Kind.ONE_WORD], ending=0.7, two_lines=0.75, height=(26, 80), aspect=(6.0, 14.0)
)
_BARE: Final = replace(PLAIN, captionless=1.0, busy=1.0)  # the backgrounds that are most like captions
_SCENES: Final = replace(PLAIN, captionless=0.6, sign=0.3, follow=0.2)  # what most of a film is
_POSTERS: Final = replace(PLAIN, words=(1, 4), captionless=0.5, own_box=0.3, poster=0.9)  # writing in the scene that is most like captions
_LATER: Final = tuple(RECIPES[kind] for kind in (Kind.LIT_WORDS, Kind.SLOW_FADES, Kind.TALL_STRIPS, Kind.LOOKALIKES))
_ROUND: Final = (  # recipes of consecutive clips
    *RECIPES.values(),
    *(RECIPES[kind] for kind in _HARD),
    *4 * _LATER,
    *6 * (_SHORT,),
    *6 * (_BOARDS,),
    *8 * (_POSTERS,),
    *8 * (_ENDINGS,),
    *3 * (_BARE,),
    *6 * (_SCENES,),
)
LATER: Final = np.array([recipe in (*_LATER, _POSTERS) for recipe in _ROUND])
"""Which of consecutive clips have traits that the first released weights do not know, so that their answers are not worth keeping."""

_FORMAT: Final = 14  # raise it when clips change without their recipes changing
_TASK: Final = 20  # clips made between two reports

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """The first axis of all arrays is the clip, the second its frame."""

    strips: npt.NDArray[np.uint8]  # (clips, frames, 32, 512, 3)
    cover: npt.NDArray[np.uint8]  # (clips, frames, 8, 128), 255 where captions cover all
    caption: npt.NDArray[np.uint8]  # (clips, frames), 0 for none
    visibility: npt.NDArray[np.float32]  # (clips, frames)

    def __len__(self) -> int:
        return len(self.strips)


_ARRAYS: Final[dict[str, tuple[tuple[int, ...], str]]] = {
    "strips": ((CLIP_FRAMES, *CANVAS, 3), "uint8"),
    "cover": ((CLIP_FRAMES, *COVER), "uint8"),
    "caption": ((CLIP_FRAMES,), "uint8"),
    "visibility": ((CLIP_FRAMES,), "float32"),
}


def make_training_set(folder: Path, fonts: Path, pictures: Path, clips: int, seed: int, workers: int, say: Say) -> None:
    """Make the training set in ``folder``, unless the same one exists."""
    wanted = {"format": _FORMAT, "clips": clips, "seed": seed, "recipes": repr(_ROUND), "pictures": PINS.read_text()}
    note = folder / "set.json"
    if not note.is_file() or json.loads(note.read_text()) != wanted:
        folder.mkdir(parents=True, exist_ok=True)
        note.unlink(missing_ok=True)
        _make(folder, fonts, pictures, clips, seed, workers, say)
        note.write_text(json.dumps(wanted))


def open_training_set(folder: Path) -> TrainingSet:
    """Map the training set in ``folder`` into memory."""
    return TrainingSet(**_open(folder, json.loads((folder / "set.json").read_text())["clips"], "r"))


def _make(folder: Path, fonts: Path, pictures: Path, clips: int, seed: int, workers: int, say: Say) -> None:
    arrays = _open(folder, clips, "w+")
    began = time.monotonic()
    with ProcessPoolExecutor(workers, initializer=_begin, initargs=(folder, fonts, pictures, clips, seed)) as pool:
        for done, _ in enumerate(pool.map(_fill, range(0, clips, _TASK)), start=1):
            count = min(clips, done * _TASK)
            if done % 10 == 0 or count == clips:
                say(f"clips: {count} of {clips}, {time.monotonic() - began:.0f} s")
    for array in arrays.values():
        array.flush()


def _open(folder: Path, clips: int, mode: Any) -> dict[str, Any]:
    return {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", mode=mode, dtype=dtype, shape=(clips, *shape))
        for name, (shape, dtype) in _ARRAYS.items()
    }


_worker: dict[str, Any] = {}  # what a worker process keeps between tasks


def _begin(folder: Path, fonts: Path, pictures: Path, clips: int, seed: int) -> None:
    torch.set_num_threads(1)
    shots, stills = (*TRAINING_SHOTS, *installed_shots(pictures)), (*TRAINING_PHOTOS, *installed_photos(pictures))
    stage = Stage(FontShelf(fonts, TRAINING_FAMILIES), shots, FOOTAGE_SHARE, stills, PHOTO_SHARE)
    _worker.update(arrays=_open(folder, clips, "r+"), stage=stage, seed=seed, clips=clips)


def _fill(first: int) -> None:
    for number in range(first, min(first + _TASK, _worker["clips"])):
        rng = np.random.default_rng([_worker["seed"], number])
        clip = make_clip(rng, _ROUND[number % len(_ROUND)], _worker["stage"], CLIP_FRAMES)
        stored = store(clip, int(rng.integers(16)))
        arrays = _worker["arrays"]
        arrays["strips"][number] = _canvas(stored)
        arrays["cover"][number] = _cover(clip)
        arrays["caption"][number] = clip.caption
        arrays["visibility"][number] = clip.visibility


def _canvas(strips: Strips) -> Strips:
    canvases = (to_canvas(torch.from_numpy(strips)) + 1) * 127.5
    return canvases.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()


def _cover(clip: Clip) -> npt.NDArray[np.uint8]:
    size = (COVER[1], COVER[0])
    rows = [np.asarray(Image.fromarray(cover).resize(size, Image.Resampling.BOX)) for cover in clip.cover]
    return np.asarray(np.stack(rows) * 255, np.uint8)
