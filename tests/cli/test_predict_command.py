"""``extents predict`` turns a folder into a run database."""

import json
import shutil
import sqlite3
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.weights import build_content
from core.types import LABELS
from inference.models.builtin import builtin_checkpoint_path, builtin_checkpoint_sha256, builtin_model_version
from storage.run_db_reader import read_run_db

SPANS = Path(__file__).parents[1] / "data" / "conformance" / "spans-center"  # 530 frames, so two spans
SHORT = Path(__file__).parents[1] / "data" / "conformance" / "tile-right"  # 24 frames


def captions_of(video: Path) -> list[tuple[int, int]]:
    """Return the first and last frames of the captions in video.json."""
    by_frame = json.loads((video / "video.json").read_text())["caption_by_frame"]
    extents = []
    for text, frames in groupby(range(len(by_frame)), key=by_frame.__getitem__):
        members = list(frames)
        if text:
            extents.append((members[0], members[-1]))
    return extents


def test_a_video_of_two_spans_gives_every_pair_and_its_captions(extents, tmp_path: Path) -> None:
    """530 frames give 529 pairs, and the built-in model finds every caption exactly."""
    done = extents("predict", SPANS, "-o", tmp_path / "run.db")
    assert (done.status, [line for line in done.err.splitlines() if not line.startswith("predicting: ")]) == (0, [])
    with sqlite3.connect(tmp_path / "run.db") as connection:
        (pairs,) = connection.execute("SELECT count(*) FROM pair_results").fetchone()
        rows = connection.execute("SELECT first_frame, last_frame FROM caption_extents ORDER BY id").fetchall()
    connection.close()
    assert pairs == 529
    assert rows == captions_of(SPANS)


def test_the_database_says_what_it_was_made_from(extents, tmp_path: Path) -> None:
    """Model, precision, frame size and hashes are recorded, and the printed summary agrees."""
    output = json.loads(extents("predict", SHORT, "-o", tmp_path / "run.db", "--precision", "bfloat16", "--json").out)
    run = read_run_db((tmp_path / "run.db").read_bytes(), "run.db")
    assert output["run_db"] == str(tmp_path / "run.db")
    assert (output["run_id"], output["pairs"], output["precision"]) == (run.run_id, run.pairs, "bfloat16")
    assert (run.pairs, run.cropped_frames_version, run.model_version) == (23, 1, builtin_model_version())
    assert run.provenance["checkpoint_sha256"] == builtin_checkpoint_sha256()
    assert (run.provenance["precision"], run.provenance["frame_size"]) == ("bfloat16", "200x40")


def test_a_production_checkpoint_gives_the_old_services_probabilities(extents, tmp_path: Path) -> None:
    """A production checkpoint is recorded under the given version, and every probability is within 1e-4 of the old service's."""
    torch.save(build_content(), tmp_path / "weights.pt")
    done = extents("predict", SHORT, "--checkpoint", tmp_path / "weights.pt", "--model-version", "mrn0fkfd", "-o", tmp_path / "run.db")
    assert (done.status, [line for line in done.err.splitlines() if not line.startswith("predicting: ")]) == (0, [])
    columns = [f"{way}_prob_{label}" for way in ("forward", "backward") for label in LABELS]
    with sqlite3.connect(tmp_path / "run.db") as connection:
        stored = np.array(connection.execute(f"SELECT {', '.join(columns)} FROM pair_results ORDER BY frame1_index").fetchall())
        version = connection.execute("SELECT model_version FROM run_metadata").fetchone()
    connection.close()
    expected = np.load(SHORT / "expected.npz")
    np.testing.assert_allclose(stored, np.concatenate([expected["forward"], expected["backward"]], axis=1), atol=1e-4)
    assert version == ("mrn0fkfd",)


def test_the_same_run_has_the_same_id_and_result(extents, tmp_path: Path) -> None:
    """A copied folder gives the same run id and probabilities, and the result goes into the folder by default."""
    runs = []
    for name in ("one", "two"):
        shutil.copytree(SHORT, tmp_path / name)
        output = json.loads(extents("predict", tmp_path / name, "--json").out)
        path = tmp_path / name / "caption_frame_extents" / f"v1_model-{builtin_model_version()[:8]}_run-{output['run_id']}.db"
        assert [path] == list((tmp_path / name / "caption_frame_extents").iterdir())
        runs.append(read_run_db(path.read_bytes(), name))
    assert runs[0].run_id == runs[1].run_id
    assert np.array_equal(runs[0].probabilities, runs[1].probabilities)


def test_a_weights_file_takes_the_place_of_the_built_in_model(extents, tmp_path: Path) -> None:
    """A file's version comes from its name and hash, unless one is given; the same weights give nearly the same probabilities."""
    weights = tmp_path / "my model.safetensors"
    shutil.copy(builtin_checkpoint_path(), weights)
    extents("predict", SHORT, "-o", tmp_path / "builtin.db")
    assert extents("predict", SHORT, "-o", tmp_path / "file.db", "--checkpoint", weights).status == 0
    builtin = read_run_db((tmp_path / "builtin.db").read_bytes(), "builtin.db")
    file = read_run_db((tmp_path / "file.db").read_bytes(), "file.db")
    assert file.model_version == f"my-model-{builtin_checkpoint_sha256()[:12]}"
    assert extents("predict", SHORT, "-o", tmp_path / "named.db", "--checkpoint", weights, "--model-version", "mrn0fkfd").status == 0
    assert read_run_db((tmp_path / "named.db").read_bytes(), "named.db").model_version == "mrn0fkfd"
    assert file.run_id != builtin.run_id
    np.testing.assert_allclose(file.probabilities, builtin.probabilities, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["--model-version", "mrn0fkfd"], 1, "WASABI_ACCESS_KEY is not set"),
        (["--model-version", "../mrn"], 2, "expected [A-Za-z0-9]"),
        (["--version", "7"], 1, "no version 7 of the cropped frames; there are: 1"),
        (["--precision", "int8"], 2, "float32"),
        (["--batch-size", "0"], 2, "--batch-size"),
    ],
)
def test_what_is_not_there_is_explained(extents, tmp_path: Path, arguments: list[str], status: int, says: str) -> None:
    """A wrong option ends with a message and without a database: status 1 if it is about data, 2 if about usage."""
    (tmp_path / "weights.pt").touch()
    arguments = [str(tmp_path / "weights.pt") if argument == "weights.pt" else argument for argument in arguments]
    done = extents("predict", SHORT, "-o", tmp_path / "run.db", *arguments)
    assert (done.status, done.out) == (status, "")
    assert says in done.err
    assert not (tmp_path / "run.db").exists()


def test_a_file_that_is_no_checkpoint_is_named(extents, tmp_path: Path) -> None:
    """The error for a file that is not a checkpoint is one line that names it."""
    (tmp_path / "weights.pt").write_text("no weights")
    done = extents("predict", SHORT, "-o", tmp_path / "run.db", "--checkpoint", tmp_path / "weights.pt")
    assert done.status == 1
    assert done.err.startswith(f"error: {tmp_path / 'weights.pt'}: ")
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda chunk: chunk.unlink(), "chunk_0000000043.webm is missing, one of the 19 chunks of 530 frames"),
        (lambda chunk: chunk.write_bytes(b"no film"), "modulo_1/chunk_0000000043.webm: not a readable WebM"),
        (lambda chunk: chunk.write_bytes(chunk.read_bytes()[:5000]), "modulo_1/chunk_0000000043.webm: "),
    ],
    ids=["missing", "no film", "cut off"],
)
def test_a_chunk_that_cannot_be_used_is_named(extents, tmp_path: Path, damage, says: str) -> None:
    """A missing, foreign or truncated chunk gives one line that names it, and no database is written."""
    shutil.copytree(SPANS, tmp_path / "video")
    damage(tmp_path / "video/cropped_frames_v1/modulo_1/chunk_0000000043.webm")
    done = extents("predict", tmp_path / "video", "-o", tmp_path / "run.db")
    assert (done.status, done.out) == (1, "")
    assert says in done.err
    assert done.err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["video"]


def test_a_film_is_sent_to_find_or_encode(extents, tmp_path: Path) -> None:
    """For a film instead of a folder, the usage error names the commands that take a film."""
    (tmp_path / "film.mp4").touch()
    done = extents("predict", tmp_path / "film.mp4")
    assert (done.status, done.out) == (2, "")
    assert "is a file; predict takes a folder of encoded frames: use extents find for a film, or extents encode first" in done.err


def test_a_place_that_cannot_be_written_is_named(extents, tmp_path: Path) -> None:
    """An output path below a file gives an error that names it."""
    (tmp_path / "file").touch()
    done = extents("predict", SHORT, "-o", tmp_path / "file" / "run.db")
    assert done.status == 1
    assert done.err.startswith(f"error: {tmp_path / 'file' / 'run.db'}: cannot be written")
