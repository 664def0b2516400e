"""``python -m benchmarks [NAME ...]``: measure, print tables, and write them under ``benchmarks/results/``."""

import argparse
import sys
import time
import traceback
from collections.abc import Callable
from typing import Final

from benchmarks.builtin import measure_builtin
from benchmarks.decoding import measure_decoding
from benchmarks.engine import measure_engine
from benchmarks.machine import describe_machine
from benchmarks.results import FOLDER, Result
from benchmarks.runtimes import measure_runtimes
from benchmarks.service import measure_service
from benchmarks.watching import measure_watching
from core.settings import Settings
from inference.engine.allocation import disable_heap_trimming
from inference.engine.compile_cache import keep_compiled

BENCHMARKS: Final[dict[str, Callable[[], Result]]] = {
    "engine": measure_engine,
    "runtimes": measure_runtimes,
    "decoding": measure_decoding,
    "builtin": measure_builtin,
    "service": measure_service,
    "watching": measure_watching,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {', '.join(BENCHMARKS)} (default: all)")
    names = parser.parse_args().names or list(BENCHMARKS)
    if unknown := [name for name in names if name not in BENCHMARKS]:
        parser.error(f"no benchmark {unknown[0]!r}; there are: {', '.join(BENCHMARKS)}")
    keep_compiled(Settings().worker.compile_cache)
    disable_heap_trimming()
    began, failed = time.monotonic(), list[str]()
    for number, name in enumerate(names, 1):
        print(f"{time.monotonic() - began:5.0f} s  {number} of {len(names)}: {name}", file=sys.stderr, flush=True)
        machine = describe_machine()  # before the benchmark, so that the load is that of other processes
        try:
            result = BENCHMARKS[name]()
        except Exception:  # the other benchmarks still run
            traceback.print_exc()
            failed.append(name)
            continue
        result.write(machine)
        print(result.table(), flush=True)
    print(f"{time.monotonic() - began:5.0f} s  written to {FOLDER}, with the machine's description", file=sys.stderr)
    if failed:
        sys.exit(f"failed, see above: {', '.join(failed)}")


if __name__ == "__main__":
    main()
