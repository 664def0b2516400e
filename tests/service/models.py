"""Models in the store of an installation."""

import hashlib
import io
from functools import cache

import torch

from inference.models.builtin import builtin_checkpoint_path
from inference.models.checkpoint import read_checkpoint
from storage.model_store import ModelManifest, ModelStore
from tests.service.installation import Installation

FILE = "weights.pt"


@cache
def weights(version: str) -> bytes:
    """Loadable weights with a hash of their own: the built-in model's, saved with an additional note."""
    checkpoint = read_checkpoint(builtin_checkpoint_path())
    file = io.BytesIO()
    torch.save({"config": dict(checkpoint.config), "model_state_dict": dict(checkpoint.state), "note": version}, file)
    return file.getvalue()


async def push_model(service: Installation, version: str) -> str:
    """Store a model as ``extents models push`` does; returns the key of its weights."""
    data = weights(version)
    manifest = ModelManifest(version, FILE, hashlib.sha256(data).hexdigest(), len(data), "siamese_strip")
    await ModelStore(service.store, service.keys).push(manifest, data)
    return service.keys.model(version, FILE)
