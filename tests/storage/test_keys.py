"""Object keys: as documented, and only from checked ids."""

from uuid import UUID

import pytest

from core.errors import ConfigurationError
from core.frames import plan_chunks
from core.settings import KeySettings
from storage.keys import Keys

TENANT, VIDEO, RUN = UUID(int=1), UUID(int=2), UUID(int=3)
DEFAULTS = {f"{kind}_template": KeySettings.model_fields[kind].default for kind in ("chunk", "layout", "run_db", "model")}


def test_default_keys_are_the_documented_ones():
    """The settings' defaults give the keys that the encoder writes and readers expect."""
    keys, base = Keys(**DEFAULTS), f"videos/{TENANT}/{VIDEO}"
    assert keys.chunk(TENANT, VIDEO, 7, plan_chunks(513)[1].name) == f"{base}/cropped_frames_v7/modulo_16/chunk_0000000512.webm"
    assert keys.layout(TENANT, VIDEO) == f"{base}/layout.db"
    assert keys.run_db(TENANT, VIDEO, 7, "mrn0fkfd-2024", RUN) == f"{base}/caption_frame_extents/v7_model-mrn0fkfd_run-{RUN}.db"
    assert keys.model("builtin-1", "manifest.json") == "models/caption_frame_extents/builtin-1/manifest.json"


def test_the_former_services_keys_can_be_written():
    """A template may use the first 8 characters of a run's id, as the former service did."""
    template = "{tenant_id}/{video_id}/v{version}_model-{model_version_8}_run-{run_id_8}.db"
    keys = Keys(**DEFAULTS | {"run_db_template": template})
    assert keys.run_db(TENANT, VIDEO, 7, "mrn0fkfd", UUID("0123abcd" + "0" * 24)) == f"{TENANT}/{VIDEO}/v7_model-mrn0fkfd_run-0123abcd.db"


def test_chunk_keys_begin_with_their_prefix():
    """A level's prefix is the beginning of every chunk's key of that level."""
    keys = Keys(**DEFAULTS | {"chunk_template": "a/{tenant_id}/{version}/b-{chunk}-c/{video_id}"})
    assert keys.chunk(TENANT, VIDEO, 7, "modulo_4/chunk_x.webm").startswith(keys.chunk_prefix(TENANT, VIDEO, 7, "modulo_4/"))


@pytest.mark.parametrize(
    ("kind", "template", "complaint"),
    [
        ("run_db", "videos/{tenant_id}/{video_id}/v{version}_{model_version_8}.db", "EXTENTS_KEY_RUN_DB"),
        ("layout", "videos/{tenant_id}/{video_id}/{run_id}.db", "no other field"),
        ("run_db", "{tenant_id}/{video_id}/{version}/{model_version_8}/{run_id}-{run_id_8}.db", "each of .* once"),
        ("layout", "videos/{tenant_id}/{tenant_id}/{video_id}", "once"),
        ("layout", "videos/{tenant_id.__class__}/{video_id}", "no other field"),
        ("layout", "videos/{tenant_id!r}/{video_id}", "conversion"),
        ("layout", "videos/{tenant_id:>99}/{video_id}", "conversion"),
        ("layout", "videos/{tenant_id/{video_id}", "EXTENTS_KEY_LAYOUT"),
        ("layout", "/{tenant_id}/{video_id}", "slash"),
        ("layout", "videos/{}/{video_id}", "no other field"),
    ],
)
def test_an_invalid_template_is_a_configuration_error(kind, template, complaint):
    """A template that lacks a field, has an unknown one or formats one is rejected with its variable's name."""
    with pytest.raises(ConfigurationError, match=complaint):
        Keys(**DEFAULTS | {f"{kind}_template": template})


@pytest.mark.parametrize("version", ["", "../../etc", "a/b", "a" * 65, "-x", "x\n"])
def test_an_invalid_model_version_never_gets_into_a_key(version):
    """Versions with slashes, leading dots or too many characters are rejected, even if earlier checks accepted them."""
    with pytest.raises(ValueError, match="model version"):
        Keys(**DEFAULTS).run_db(TENANT, VIDEO, 1, version, RUN)
    with pytest.raises(ValueError, match="model version"):
        Keys(**DEFAULTS).model(version, "manifest.json")


def test_a_version_below_one_never_gets_into_a_key():
    """A version of cropped frames below 1 is rejected."""
    with pytest.raises(ValueError, match="version 0"):
        Keys(**DEFAULTS).chunk(TENANT, VIDEO, 0, "modulo_1/chunk_0000000001.webm")
