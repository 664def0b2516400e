"""Compilation: one shape for everything, the same numbers, and a fallback without a compiler.

The first of these tests need a C++ compiler, which a machine may lack.
"""

import gc
import subprocess
import sys
import weakref
from collections import Counter
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import structlog
import torch._dynamo
import torch._inductor.config
from torch._dynamo.utils import counters

from inference.engine.compilation import compiled
from inference.engine.predictor import Checkpoint, EngineOptions, Predictor
from inference.models.builtin import builtin_checkpoint_path
from inference.models.loading import load_predictor
from tests.inference.compiler import needs_compiler
from tests.inference.conformance import TOLERANCE, load_case

OPTIONS = EngineOptions(compile=True, batch_size=3)

Counted = tuple[Predictor, dict[str, Counter[str]]]


@pytest.fixture(scope="module")
def counted(conformance_checkpoint: Checkpoint) -> Counted:
    """The production architecture, compiled, and what the compiler counted while loading it."""
    torch._dynamo.reset()
    counters.clear()
    predictor = load_predictor(conformance_checkpoint, OPTIONS)
    assert predictor.options.compile
    return predictor, deepcopy(counters)


@needs_compiler
def test_nothing_compiles_anew_between_spans_and_strips(counted: Counted) -> None:
    """One graph serves every number of pairs and every strip size, with the old service's probabilities."""
    predictor, of_loading = counted
    assert of_loading["stats"]["unique_graphs"] == 1
    for case, frames in (("tile-right", 2), ("crop-right", 6), ("tile-left", 4)):
        stored = load_case(case)
        probabilities = predictor.predict(predictor.open_video(stored.layout), stored.spans[0][:frames])
        assert np.abs(probabilities - stored.expected[: frames - 1]).max() < TOLERANCE
    assert counters["stats"]["unique_graphs"] == 1


@needs_compiler
def test_sums_and_relus_are_computed_within_the_convolutions(counted: Counted) -> None:
    """On a CPU all 53 convolutions have packed weights, 32 include their ReLU and 16 also the residual sum, which saves a tenth."""
    fused = counted[1]["inductor"]
    assert fused["mkldnn_conv_weight_pack_matcher_count"] == 53
    assert fused["mkldnn_unary_fusion_matcher_count"] == 32
    assert fused["mkldnn_conv_binary_unary_fusion_matcher_count"] == 16


@needs_compiler
def test_the_ninth_network_is_compiled_like_the_first() -> None:
    """A process compiles any number of networks, one after the other, and keeps none that has been released."""
    torch._dynamo.reset()
    networks = []
    for _ in range(10):
        network = torch.nn.Linear(3, 3)
        assert compiled(network, torch.device("cpu"), lambda network: network(torch.ones(1, 3))) is not None
        networks.append(weakref.ref(network))
    del network
    gc.collect()
    assert [run() for run in networks] == [None] * 10


@needs_compiler
def test_the_built_in_model_says_the_same_compiled() -> None:
    """The compiled built-in model gives the same result with one graph, which serves a span's last batch too."""
    torch._dynamo.reset()
    counters.clear()
    case = load_case("tile-left")
    plain, fast = (load_predictor(builtin_checkpoint_path(), options) for options in (EngineOptions(), OPTIONS))
    np.testing.assert_allclose(case.predict(fast), case.predict(plain), atol=1e-4)
    assert fast.options.compile
    assert counters["stats"]["unique_graphs"] == 1


@pytest.mark.parametrize("builtin", [False, True])
def test_without_a_compiler_it_runs_uncompiled_and_says_so(
    conformance_checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, builtin: bool
) -> None:
    """Without a compiler the network runs uncompiled, and the log and the options show it."""
    torch._dynamo.reset()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    no_compiler = torch._inductor.config.patch({"cpp.cxx": (None, str(tmp_path / "no-compiler"))})
    with structlog.testing.capture_logs() as logs, no_compiler:
        predictor = load_predictor(builtin_checkpoint_path() if builtin else conformance_checkpoint, OPTIONS)
    assert [entry["event"] for entry in logs] == ["engine.not_compiled"]
    assert "no-compiler" in logs[0]["reason"]
    assert not predictor.options.compile
    stored = load_case("tile-right")
    probabilities = predictor.predict(predictor.open_video(stored.layout), stored.spans[0][:3])
    assert probabilities.shape == (2, 2, 5)
    assert builtin or np.abs(probabilities - stored.expected[:2]).max() < TOLERANCE


def test_who_compiles_nothing_does_without_the_compiler() -> None:
    """Loading a model uncompiled does not import the compiler, because the import takes longer than the rest of a worker's start."""
    program = f"""
import sys
from inference.models.loading import load_predictor
from inference.engine.predictor import EngineOptions
load_predictor({str(builtin_checkpoint_path())!r}, EngineOptions())
sys.exit("torch._inductor" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
