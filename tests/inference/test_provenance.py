"""A result's provenance records the options that were used, not those requested."""

from dataclasses import replace

import torch

from inference.engine.predictor import EngineOptions
from inference.engine.provenance import describe_engine
from inference.models.builtin import builtin_checkpoint_path
from inference.models.loading import load_predictor


def test_it_names_versions_and_every_option() -> None:
    """Each option that can change a result's last bits changes the description."""
    options = EngineOptions()
    provenance = describe_engine(options)
    assert provenance["torch"] == torch.__version__
    assert (provenance["batch_size"], provenance["compiled"], provenance["merged"]) == ("32", "false", "true")
    for changed in ({"batch_size": 16}, *({step: not getattr(options, step)} for step in STEPS)):
        other = describe_engine(replace(options, **changed))
        assert len(other.items() - provenance.items()) == 1, changed


def test_a_predictor_tells_its_options() -> None:
    """The built-in model's predictor reports its options too."""
    options = EngineOptions(batch_size=7)
    assert load_predictor(builtin_checkpoint_path(), options).options == options


STEPS = ("compile", "merge", "share_stem", "channels_last", "fit_on_device")
