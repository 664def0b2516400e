"""Which objects a purge looks for: what the templates of keys make of a tenant and a video."""

from uuid import UUID

import click
import pytest

from cli.operations.purge import key_prefixes
from core.settings import KeySettings

TENANT, VIDEO = UUID(int=1), UUID(int=2)


def test_one_prefix_holds_everything_by_default():
    """Chunks, layout and run databases of a video lie below one prefix, those of a tenant too."""
    assert key_prefixes(KeySettings(), TENANT, VIDEO) == {f"videos/{TENANT}/{VIDEO}"}
    assert key_prefixes(KeySettings(), TENANT, None) == {f"videos/{TENANT}"}


def test_templates_of_different_places_are_all_looked_into():
    """A layout or a run database that lies elsewhere is found there, whatever character follows the id."""
    keys = KeySettings(layout="layouts/{tenant_id}-{video_id}.db", chunk="{tenant_id}_{video_id}/{version}/{chunk}")
    assert key_prefixes(keys, TENANT, VIDEO) == {f"videos/{TENANT}/{VIDEO}", f"layouts/{TENANT}-{VIDEO}", f"{TENANT}_{VIDEO}"}
    assert key_prefixes(keys, TENANT, None) == {f"videos/{TENANT}", f"layouts/{TENANT}", f"{TENANT}"}


def test_a_template_without_a_common_prefix_is_refused():
    """A tenant's objects cannot be found by a prefix where the video comes first; the message names the setting."""
    keys = KeySettings(layout="layouts/{video_id}/{tenant_id}.db")
    assert f"layouts/{VIDEO}/{TENANT}" in key_prefixes(keys, TENANT, VIDEO)
    with pytest.raises(click.ClickException, match=r"EXTENTS_KEY_LAYOUT is .*\{video_id\} comes first"):
        key_prefixes(keys, TENANT, None)
