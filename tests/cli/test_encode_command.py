"""``extents encode`` writes a whole video to a folder or to the store, or leaves nothing."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

import pytest

from cli.film.local_video import open_folder
from core.errors import PermanentError
from core.frames import plan_chunks
from core.settings import KeySettings, WasabiSettings
from storage.connect import object_keys, open_store
from storage.layouts import MAX_LAYOUT_BYTES, fetch_layout
from storage.objects import ObjectStore

CROP = "10,200,311,240"


def test_a_folder_holds_the_whole_video(extents, film: Path, tmp_path: Path) -> None:
    """A folder that encode wrote is a video that predict can open, with the given crop and anchor."""
    done = extents("encode", film, "--crop", CROP, "--anchor", "left", "--out", tmp_path / "new" / "video")
    assert (done.status, done.err) == (0, "")
    assert "20 of 301x40 pixels, 2.0 s" in done.out
    video = open_folder(tmp_path / "new" / "video", None)
    assert (video.version, video.frame_count) == (1, 20)
    assert (video.layout.crop_left, video.layout.crop_bottom, video.layout.frame_width, video.layout.anchor) == (10, 240, 320, "left")
    assert sorted(path.name for path in (tmp_path / "new" / "video").iterdir()) == ["cropped_frames_v1", "layout.db"]


def test_json_says_where_everything_is(extents, film: Path, tmp_path: Path) -> None:
    """Standard output is one JSON object and nothing else."""
    output = json.loads(extents("encode", film, "--crop", CROP, "--out", tmp_path, "--json").out)
    assert Path(output["frames"], "modulo_16", "chunk_0000000000.webm").exists()
    assert Path(output["layout"]).exists()
    assert (output["frame_count"], output["width"], output["height"], output["chunks"]) == (20, 301, 40, 3)


def test_a_version_is_never_overwritten(extents, film: Path, tmp_path: Path) -> None:
    """An existing version is rejected, and the next one is written beside it and shares the layout."""
    extents("encode", film, "--crop", CROP, "--out", tmp_path)
    layout = (tmp_path / "layout.db").read_bytes()
    again = extents("encode", film, "--crop", CROP, "--out", tmp_path)
    assert (again.status, again.out) == (1, "")
    assert "cropped_frames_v1 exists already" in again.err
    assert extents("encode", film, "--crop", CROP, "--out", tmp_path, "--version", "2").status == 0
    assert open_folder(tmp_path, None).version == 2
    assert (tmp_path / "layout.db").read_bytes() == layout


def test_another_crop_of_the_same_video_is_refused(extents, film: Path, tmp_path: Path) -> None:
    """A version with another crop or anchor is rejected, because a video has only one layout."""
    extents("encode", film, "--crop", CROP, "--out", tmp_path)
    other = extents("encode", film, "--crop", "10,190,311,240", "--out", tmp_path, "--version", "2")
    assert other.status == 1
    assert "exists with crop 10,200,311,240, anchor center, not crop 10,190,311,240" in other.err
    assert not (tmp_path / "cropped_frames_v2").exists()


@pytest.mark.parametrize(
    ("crop", "status", "says"),
    [
        ("0,0,321,40", 1, "error: crop 0,0,321,40 reaches outside the film, which is 320x240 pixels\n"),
        ("40,0,40,40", 1, "contains no pixels"),
        ("0,0,40", 2, "not four whole numbers"),
        ("0,0,40,4x", 2, "not four whole numbers"),
        ("bottom-third", 2, "takes pixels only, and extents crop FILM prints them"),
    ],
)
def test_a_wrong_crop_is_explained_and_leaves_nothing(extents, film: Path, tmp_path: Path, crop: str, status: int, says: str) -> None:
    """The error for a wrong crop says what would fit, and no folder is created."""
    done = extents("encode", film, "--crop", crop, "--out", tmp_path / "video")
    assert (done.status, done.out) == (status, "")
    assert says in done.err
    assert not (tmp_path / "video").exists()


def test_a_film_that_cannot_be_read_leaves_nothing(extents, tmp_path: Path) -> None:
    """The error for an unreadable film names it, and no folder is created."""
    (tmp_path / "notes.mp4").write_text("no film")
    done = extents("encode", tmp_path / "notes.mp4", "--crop", CROP, "--out", tmp_path / "video")
    assert done.status == 1
    assert done.err.count("\n") == 1
    assert done.err.startswith(f"error: {tmp_path / 'notes.mp4'}: this is text, not a video")
    assert not (tmp_path / "video").exists()


@pytest.mark.parametrize(
    "where", [[], ["--tenant-id", str(uuid4())], ["--out", "video", "--tenant-id", str(uuid4()), "--video-id", str(uuid4())]]
)
def test_the_target_must_be_clear(extents, film: Path, where: list[str]) -> None:
    """No destination, an incomplete one or two of them are a usage error, with status 2."""
    done = extents("encode", film, "--crop", CROP, *where)
    assert done.status == 2
    assert "choose a destination" in done.err


def test_an_id_that_is_no_uuid_is_refused(extents, film: Path) -> None:
    """An id that is not a UUID is rejected, because it becomes part of a key."""
    done = extents("encode", film, "--crop", CROP, "--tenant-id", "../..", "--video-id", str(uuid4()))
    assert done.status == 2
    assert "is not a UUID" in done.err


@pytest.fixture
def store_env(namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in namespace.env.items():
        monkeypatch.setenv(name, value)


async def _keys(store: ObjectStore) -> list[str]:
    return [key async for key in store.list_keys("")]


def _stored_keys() -> list[str]:
    async def read() -> list[str]:
        async with open_store(WasabiSettings()) as store:
            return await _keys(store)

    return asyncio.run(read())


@pytest.mark.usefixtures("store_env")
def test_the_store_gets_the_same_bytes_as_a_folder(extents, film: Path, tmp_path: Path) -> None:
    """Chunks and layout are stored under the documented keys, with the same bytes as in a folder."""
    tenant_id, video_id = uuid4(), uuid4()
    extents("encode", film, "--crop", CROP, "--out", tmp_path)
    done = extents("encode", film, "--crop", CROP, "--tenant-id", str(tenant_id), "--video-id", str(video_id))
    assert done.status == 0, done.err
    assert f"extents submit --tenant-id {tenant_id} --video-id {video_id} --version 1 --watch" in done.out

    async def check() -> None:
        keys = object_keys(KeySettings())
        async with open_store(WasabiSettings()) as store:
            expected = [keys.chunk(tenant_id, video_id, 1, chunk.name) for chunk in plan_chunks(20)]
            assert await _keys(store) == sorted([*expected, keys.layout(tenant_id, video_id)])
            for chunk, key in zip(plan_chunks(20), expected, strict=True):
                assert await store.get(key, 1_000_000) == (tmp_path / "cropped_frames_v1" / chunk.name).read_bytes()
            assert await store.get(keys.layout(tenant_id, video_id), MAX_LAYOUT_BYTES) == (tmp_path / "layout.db").read_bytes()
            stored = await fetch_layout(store, keys, tenant_id, video_id)
            assert stored.layout == open_folder(tmp_path, None).layout

    asyncio.run(check())


@pytest.mark.usefixtures("store_env")
def test_a_stored_version_is_never_overwritten(extents, film: Path) -> None:
    """A stored version is rejected before the film is read, and the next one is added."""
    target = ["--tenant-id", str(uuid4()), "--video-id", str(uuid4())]
    extents("encode", film, "--crop", CROP, *target)
    before = _stored_keys()
    again = extents("encode", film, "--crop", CROP, *target)
    assert again.status == 1
    assert "exists already" in again.err
    assert _stored_keys() == before
    assert extents("encode", film, "--crop", CROP, "--version", "2", *target).status == 0
    assert len(_stored_keys()) == len(before) + len(plan_chunks(20))


class _FullStore(ObjectStore):
    """The real store, which accepts chunks but no layout."""

    async def put(self, key: str, data: bytes, metadata: Mapping[str, str] | None = None) -> None:
        if key.endswith("layout.db"):
            raise PermanentError(f"{key}: no room")
        await super().put(key, data, metadata)


@pytest.mark.usefixtures("store_env")
def test_what_was_sent_is_taken_back_when_sending_fails(extents, film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If storing fails, all objects sent so far are deleted, so that the same command can run again."""
    monkeypatch.setattr("cli.film.encoding.encode_store.open_store", lambda settings: _FullStore(open_store(settings)._config))
    target = ["--tenant-id", str(uuid4()), "--video-id", str(uuid4())]
    failed = extents("encode", film, "--crop", CROP, *target)
    assert failed.status == 1
    assert "layout.db: no room" in failed.err
    assert _stored_keys() == []


@pytest.mark.usefixtures("store_env")
def test_a_store_that_refuses_is_named(extents, film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong credentials give one line that names the variables to correct."""
    monkeypatch.setenv("WASABI_SECRET_KEY", "wrong")
    done = extents("encode", film, "--crop", CROP, "--tenant-id", str(uuid4()), "--video-id", str(uuid4()))
    assert done.status == 1
    assert "WASABI_SECRET_KEY" in done.err
    assert done.err.count("\n") == 1


def test_missing_settings_are_named(extents, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without settings for the object store, the error names the missing variables."""
    monkeypatch.chdir(tmp_path)
    for name in ("WASABI_ACCESS_KEY", "WASABI_SECRET_KEY", "WASABI_BUCKET"):
        monkeypatch.delenv(name, raising=False)
    done = extents("encode", film, "--crop", CROP, "--tenant-id", str(uuid4()), "--video-id", str(uuid4()))
    assert done.status == 1
    assert "WASABI_ACCESS_KEY is not set" in done.err
