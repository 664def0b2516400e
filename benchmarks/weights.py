"""Weights in the shape of production that anybody can build: each tensor is a function of its name, its shape and a seed.

They mean nothing, but they use every path through the network, so that two implementations can be compared number for
number. Needs only NumPy and PyTorch.
"""

import hashlib
import json
import math
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from inference.engine.predictor import Checkpoint

MANIFEST: Final = Path(__file__).parents[1] / "tests" / "data" / "conformance" / "manifest.json"


def build_content(seed: int | None = None) -> dict[str, Any]:
    """Build the content of a production checkpoint: ``config`` and ``model_state_dict``. The manifest's seed gives the expected numbers."""
    manifest = json.loads(MANIFEST.read_text())
    seed = manifest["seed"] if seed is None else seed
    gains, fixed = manifest["gains"], manifest["fixed"]
    state = {
        entry["name"]: _build(entry["name"], entry["shape"], entry["dtype"], seed, gains.get(entry["name"], 1.0))
        for entry in manifest["entries"]
    }
    state |= {name: torch.tensor(values) for name, values in fixed.items()}
    return {"config": manifest["config"], "model_state_dict": state}


def build_checkpoint() -> Checkpoint:
    """Build the same as if read from a file."""
    content = build_content()
    config = content["config"]
    return Checkpoint(config["architecture_name"], config, content["model_state_dict"], "", "benchmarks/weights.py")


def _build(name: str, shape: list[int], dtype: str, seed: int, gain: float) -> torch.Tensor:
    """Draw standard normals seeded by the entry's name, and scale them to the mean and spread of such an entry in a trained network."""
    if dtype == "int64":  # a batch norm's count of batches; inference does not read it
        return torch.tensor(1000)
    state = int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8], "little")
    drawn = np.random.Generator(np.random.PCG64(state)).standard_normal(shape)
    kind = name.rpartition(".")[2]
    if kind == "running_var":
        values = 1 + 0.25 * np.abs(drawn)
    elif kind == "running_mean" or kind == "bias":
        values = 0.1 * drawn
    elif "lora_" in name:
        values = 0.25 * drawn / math.sqrt(shape[1])
    elif len(shape) > 1:  # keeps the size of activations through a ReLU
        values = drawn * math.sqrt(2 / math.prod(shape[1:]))
    else:  # a batch norm's scale; small on a residual branch's last, so that sixteen blocks do not add up
        values = (0.25 if name.endswith("bn3.weight") else 1) * (1 + 0.1 * drawn)
    return torch.from_numpy((gain * values).astype(np.float32))
