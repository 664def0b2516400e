"""A folder counts as a video if it holds all chunks of the video and no others."""

import re
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cli.film.local_video import find_frame_count, open_folder
from core.errors import CorruptInputError, MissingObjectError
from core.frames import plan_chunks

FOLDER = Path(__file__).parents[1] / "data" / "conformance" / "spans-center"


def lengths(frame_count: int) -> Callable[[str], int]:
    """Return a function that counts a chunk's frames as its file would."""
    known = {chunk.name: len(chunk.frames) for chunk in plan_chunks(frame_count)}
    return known.__getitem__


@given(st.integers(2, 3000))
def test_the_frame_count_follows_from_the_chunks(frame_count: int) -> None:
    """A whole video's frames are counted exactly, whatever its length."""
    names = {chunk.name for chunk in plan_chunks(frame_count)}
    assert find_frame_count("film", names, lengths(frame_count)) == frame_count


@given(st.integers(200, 3000), st.data())
def test_a_chunk_missing_before_the_end_is_named(frame_count: int, data: st.DataObject) -> None:
    """The error names a missing chunk if another one of its level follows."""
    chunks = plan_chunks(frame_count)
    followed = [chunk for chunk, after in pairwise(chunks) if after.level == chunk.level]
    missing = data.draw(st.sampled_from(followed))
    names = {chunk.name for chunk in chunks if chunk is not missing}
    with pytest.raises(MissingObjectError, match=re.escape(f"film/{missing.name} is missing, one of the {len(chunks)} chunks")):
        find_frame_count("film", names, lengths(frame_count))


@given(st.integers(16, 3000))
def test_a_level_cut_short_at_its_end_is_noticed(frame_count: int) -> None:
    """If the last chunk of level 1 is missing, the other levels show that the video is longer."""
    last = plan_chunks(frame_count)[-1]
    names = {chunk.name for chunk in plan_chunks(frame_count) if chunk != last}
    assume(last.frames[0] < frame_count - 4)  # otherwise the rest may be a whole, shorter video
    with pytest.raises(MissingObjectError, match=re.escape(last.name)):
        find_frame_count("film", names, lengths(frame_count))


def test_a_chunk_without_a_place_is_named() -> None:
    """A chunk with an impossible first frame is rejected, because it belongs to another video."""
    names = {chunk.name for chunk in plan_chunks(100)} | {"modulo_1/chunk_0000000002.webm"}
    with pytest.raises(CorruptInputError, match=r"film/modulo_1/chunk_0000000002\.webm does not belong to a video of 100 frames"):
        find_frame_count("film", names, lengths(100))


def test_one_frame_is_too_few() -> None:
    """A video of one frame is rejected, because it has no pair."""
    with pytest.raises(CorruptInputError, match="1 frame; comparing frames takes at least 2"):
        find_frame_count("film", {"modulo_16/chunk_0000000000.webm"}, lengths(1))


def test_a_stored_video_is_read_as_it_lies() -> None:
    """A folder copied from the store gives its layout, frame count and chunks."""
    video = open_folder(FOLDER, None)
    assert (video.version, video.frame_count) == (1, 530)
    assert (video.layout.crop_right - video.layout.crop_left, video.layout.anchor) == (402, "center")
    name = "modulo_16/chunk_0000000512.webm"
    assert video.read_chunk(name) == (FOLDER / "cropped_frames_v1" / name).read_bytes()


def test_content_alone_makes_a_video(tmp_path: Path) -> None:
    """A copy elsewhere has the same hash, and one with a changed byte has another."""
    shutil.copytree(FOLDER, tmp_path / "copy")
    copy = open_folder(tmp_path / "copy", 1)
    assert copy.sha256 == open_folder(FOLDER, None).sha256
    chunk = tmp_path / "copy/cropped_frames_v1/modulo_1/chunk_0000000043.webm"
    content = chunk.read_bytes()
    chunk.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert open_folder(tmp_path / "copy", 1).sha256 != copy.sha256


def test_the_newest_version_is_taken_by_number(tmp_path: Path) -> None:
    """Version 10 is newer than version 9, and a requested version overrides the newest."""
    for version in (9, 10):
        shutil.copytree(FOLDER / "cropped_frames_v1", tmp_path / f"cropped_frames_v{version}")
    shutil.copy(FOLDER / "layout.db", tmp_path)
    assert open_folder(tmp_path, None).version == 10
    assert open_folder(tmp_path, 9).version == 9
    with pytest.raises(MissingObjectError, match="no version 1 of the cropped frames; there are: 9, 10"):
        open_folder(tmp_path, 1)


def test_a_folder_without_layout_says_so(tmp_path: Path) -> None:
    """Chunks without a layout are rejected with the names of the files looked for."""
    shutil.copytree(FOLDER / "cropped_frames_v1", tmp_path / "cropped_frames_v1")
    with pytest.raises(MissingObjectError, match=r"neither layout\.db nor layout\.db\.gz"):
        open_folder(tmp_path, None)


def test_a_last_chunk_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """If the chunk that gives the frame count is damaged, the error names it."""
    shutil.copytree(FOLDER, tmp_path / "film")
    (tmp_path / "film/cropped_frames_v1/modulo_4/chunk_0000000516.webm").write_bytes(b"no film")
    with pytest.raises(CorruptInputError, match=r"chunk_0000000516\.webm: not a readable WebM"):
        open_folder(tmp_path / "film", None)
