"""The prefixes that a purge searches follow from the key templates."""

from uuid import UUID

import click
import pytest

from cli.operations.purge import key_prefixes
from core.settings import KeySettings

TENANT, VIDEO = UUID(int=1), UUID(int=2)


def test_one_prefix_holds_everything_by_default():
    """By default one prefix holds all objects of a video, and one those of a tenant."""
    assert key_prefixes(KeySettings(), TENANT, VIDEO) == {f"videos/{TENANT}/{VIDEO}"}
    assert key_prefixes(KeySettings(), TENANT, None) == {f"videos/{TENANT}"}


def test_templates_of_different_places_are_all_looked_into():
    """Templates with other prefixes are searched too, whatever character follows the id."""
    keys = KeySettings(layout="layouts/{tenant_id}-{video_id}.db", chunk="{tenant_id}_{video_id}/{version}/{chunk}")
    assert key_prefixes(keys, TENANT, VIDEO) == {f"videos/{TENANT}/{VIDEO}", f"layouts/{TENANT}-{VIDEO}", f"{TENANT}_{VIDEO}"}
    assert key_prefixes(keys, TENANT, None) == {f"videos/{TENANT}", f"layouts/{TENANT}", f"{TENANT}"}


def test_a_template_without_a_common_prefix_is_refused():
    """If a template has the video before the tenant, a tenant's purge is rejected with the name of the setting."""
    keys = KeySettings(layout="layouts/{video_id}/{tenant_id}.db")
    assert f"layouts/{VIDEO}/{TENANT}" in key_prefixes(keys, TENANT, VIDEO)
    with pytest.raises(click.ClickException, match=r"EXTENTS_KEY_LAYOUT is .*\{video_id\} comes first"):
        key_prefixes(keys, TENANT, None)
