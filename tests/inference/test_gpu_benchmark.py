"""The GPU benchmark needs nothing else of the project, so it can be taken to any machine with PyTorch."""

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.patience import HANGS_AFTER

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"
NEEDED = ("torch", "numpy", "pillow")
OURS = "extents"


def needless() -> list[str]:
    """List importable packages that are neither the benchmark's own nor required by the packages that it needs."""
    allowed, ahead = {OURS}, list(NEEDED)
    while ahead:
        name = canonicalize_name(ahead.pop())
        if name not in allowed:
            allowed.add(name)
            requirements = map(Requirement, metadata.requires(name) or ())
            ahead += [
                requirement.name for requirement in requirements if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            ]
    installed = metadata.packages_distributions()
    return sorted(name for name, owners in installed.items() if not allowed.intersection(map(canonicalize_name, owners)))


def test_it_runs_with_pytorch_numpy_and_pillow_alone(tmp_path: Path) -> None:
    """The benchmark runs on a CPU with only those three packages: it measures a few pairs, compares them and writes its results."""
    blocked = needless()
    assert {"structlog", "safetensors", "av", "pydantic", "faust", "aioboto3", "orjson"} <= set(blocked)
    arguments = ["--device=cpu", "--precisions", "float32", "--batch-sizes", "2", "--frames=4", "--rounds=1", "--no-compile", "--out"]
    program = (
        "import runpy, sys\n"
        f"sys.modules.update(dict.fromkeys({blocked!r}))\n"  # with None there, importing fails as if it were not installed
        f"sys.argv = {['gpu.py', *arguments, str(tmp_path)]!r}\n"
        f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__')\n"
    )
    subprocess.run([sys.executable, "-I", "-c", program], check=True, timeout=HANGS_AFTER, cwd=tmp_path)
    result = json.loads((tmp_path / "gpu.json").read_text())
    row = dict(zip(result["columns"], result["rows"][0], strict=True))
    assert row["precision"] == "float32"
    assert row["pairs/s"] > 0
    assert float(row["largest difference"]) < 1e-4
    assert row["A10G, estimated pairs/s"] == ""  # a CPU's share of its peak does not apply to a GPU
    assert result["machine"]["versions"]["torch"]
