"""Architectures are found in the package and in other installed distributions."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from core.errors import CheckpointError
from inference.architectures import architectures, find_architecture

NETWORK = """
class Echo:
    name = "echo"

    def load(self, checkpoint, options):
        return (checkpoint, options)

class Impostor(Echo):
    name = "siamese_strip"

ECHO, IMPOSTOR, NUMBER = Echo(), Impostor(), 7
"""


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Install a distribution ``echo-network`` with a module, and yield the path of its entry points' file, not written yet."""
    (tmp_path / "echo_network.py").write_text(NETWORK)
    info = tmp_path / "echo_network-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: echo-network\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    architectures.cache_clear()
    yield info / "entry_points.txt"
    architectures.cache_clear()
    sys.modules.pop("echo_network", None)


def provide(entry_points: Path, value: str) -> None:
    entry_points.write_text(f"[extents.architectures]\necho = {value}\n")


def test_every_architecture_is_registered_under_its_own_name() -> None:
    """The package's architectures are found under their own names."""
    known = architectures().known
    assert set(known) >= {"channel_fusion_lora_spatial", "siamese_strip"}
    assert all(find_architecture(name).name == name for name in known)


def test_another_distribution_adds_an_architecture(distribution: Path) -> None:
    """An entry point of the group adds its architecture to the package's own."""
    provide(distribution, "echo_network:ECHO")
    assert find_architecture("echo").load("checkpoint", "options") == ("checkpoint", "options")
    assert {"channel_fusion_lora_spatial", "echo", "siamese_strip"} <= set(architectures().known)
    assert architectures().unusable == ()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("echo_network:IMPOSTOR", "an architecture named 'siamese_strip' exists already"),
        ("echo_network:NUMBER", "is a int; expected an object with `name` and `load`"),
        ("echo_network:MISSING", "cannot be loaded: AttributeError"),
        ("no_such_module:ECHO", "cannot be loaded: ModuleNotFoundError"),
    ],
)
def test_a_wrong_entry_point_is_named_and_stops_no_other(distribution: Path, value: str, message: str) -> None:
    """A broken entry point is logged with its distribution and the reason, and all other architectures stay available."""
    own = dict(architectures().known)
    architectures.cache_clear()
    distribution.write_text(f"[extents.architectures]\nbroken = {value}\necho = echo_network:ECHO\n")
    with structlog.testing.capture_logs() as logs:
        known = architectures().known
    assert set(known) == {*own, "echo"}
    assert all(known[name] is architecture for name, architecture in own.items())
    (entry,) = logs
    assert entry["event"] == "architecture.unusable"
    assert "of echo-network" in entry["entry_point"]
    assert message in entry["reason"]
    with pytest.raises(CheckpointError) as raised:
        find_architecture("some_network")
    assert "of echo-network" in str(raised.value)
    assert message in str(raised.value)


def test_an_unknown_architecture_is_refused() -> None:
    """The error for an unknown architecture lists the known ones."""
    with pytest.raises(CheckpointError, match=r"'some_network' is not known; there are: .*channel_fusion_lora_spatial"):
        find_architecture("some_network")
