"""``python -m benchmarks [NAME ...]``: measure, print tables, and write them under ``benchmarks/results/``."""

import argparse
from collections.abc import Callable
from typing import Final

from benchmarks.builtin import measure_builtin
from benchmarks.decoding import measure_decoding
from benchmarks.engine import measure_engine
from benchmarks.machine import describe_machine
from benchmarks.results import FOLDER, Result

BENCHMARKS: Final[dict[str, Callable[[], Result]]] = {
    "engine": measure_engine,
    "decoding": measure_decoding,
    "builtin": measure_builtin,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {', '.join(BENCHMARKS)} (default: all)")
    names = parser.parse_args().names or list(BENCHMARKS)
    if unknown := [name for name in names if name not in BENCHMARKS]:
        parser.error(f"no benchmark {unknown[0]!r}; there are: {', '.join(BENCHMARKS)}")
    for name in names:
        machine = describe_machine()  # before it, so that the load is others'
        result = BENCHMARKS[name]()
        result.write(machine)
        print(result.table(), flush=True)
    print(f"Written to {FOLDER}, with the machine's description.")


if __name__ == "__main__":
    main()
