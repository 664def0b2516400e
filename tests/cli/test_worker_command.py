"""``extents worker`` names missing settings before it starts anything."""

from pathlib import Path

import pytest

from tests.cli.processes import run_extents


@pytest.mark.parametrize("role", ["coordinator", "gpu"])
def test_missing_settings_are_named_in_one_line(role: str, tmp_path: Path) -> None:
    """One line names every missing variable of the role's sections and the page that lists them; the status is 1."""
    done = run_extents("worker", role, folder=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "WASABI_ACCESS_KEY", "WASABI_SECRET_KEY", "WASABI_BUCKET"):
        assert f"{name} is not set" in done.stderr
    for name in ("SUPABASE_URL", "SUPABASE_SERVICE_ROLE_KEY"):  # a GPU worker has no key to the database
        assert (f"{name} is not set" in done.stderr) == (role == "coordinator")
    assert "docs/configuration.md" in done.stderr


def test_wrong_settings_are_named_without_their_values(tmp_path: Path, stack) -> None:
    """A wrong value is reported by its variable's name only, together with a missing variable of another section."""
    env = {name: value for name, value in stack.env.items() if name != "WASABI_BUCKET"}
    done = run_extents("worker", "gpu", folder=tmp_path, env={**env, "EXTENTS_BATCH_SIZE": "none-of-these", "EXTENTS_DEVICE": "tpu"})
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    for text in ("EXTENTS_BATCH_SIZE: ", "EXTENTS_DEVICE: ", "WASABI_BUCKET is not set"):
        assert text in done.stderr
    assert "none-of-these" not in done.stderr


def test_settings_are_read_from_a_file_too(tmp_path: Path) -> None:
    """Variables in .env of the working directory count as set."""
    (tmp_path / ".env").write_text("WASABI_BUCKET=videos\nexport KAFKA_BOOTSTRAP_SERVERS=localhost:9092\n")
    done = run_extents("worker", "coordinator", folder=tmp_path)
    assert done.returncode == 1
    assert "WASABI_BUCKET" not in done.stderr
    assert "KAFKA_BOOTSTRAP_SERVERS" not in done.stderr
    assert "WASABI_ACCESS_KEY is not set" in done.stderr


def test_another_role_is_a_matter_of_usage(tmp_path: Path) -> None:
    """Any role other than coordinator and gpu is a usage error that names both."""
    done = run_extents("worker", "cpu", folder=tmp_path)
    assert done.returncode == 2
    assert "'coordinator', 'gpu'" in done.stderr
