"""Measures this project beside its baselines, and prints one table.

    python -m benchmarks                      # everything: more than two hours on two cores
    python -m benchmarks ingestion startup    # a few minutes

Each benchmark measures in turn what is compared, and is described in its module. The table has the
medians, the median ratio with the least and the greatest, what the ratio should be, and the part of
the machine's matrix peak that was reached. Run it on an otherwise idle machine.
"""

import argparse
import importlib
import sys
from importlib.metadata import version

from benchmarks import peak
from benchmarks.data_sets import CPUS, in_fresh_process
from benchmarks.paired import Paired, markdown
from fmnist import machine

NAMES = ("startup", "step_speed", "comparison_time", "streaming", "ingestion", "scoring_speed")
PACKAGES = ("ray", "tensorflow", "keras", "numpy", "pyarrow", "pillow")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(NAMES)}")
    names = parser.parse_args().names or NAMES
    if unknown := set(names) - set(NAMES):
        parser.error(f"found {', '.join(sorted(unknown))}, expected names of {', '.join(NAMES)}")
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    print(f"{machine.processor()}, {CPUS} cores, {peak.measure():,.0f} GFLOP/s")
    print(f"Python {sys.version.split()[0]}, {versions}", flush=True)
    rows: list[Paired] = []
    try:
        for name in names:
            print(f"\npython -m benchmarks {name}", flush=True)
            rows += in_fresh_process(importlib.import_module(f"benchmarks.{name}").measure)
    finally:  # what was measured before a failure is not lost
        print(f"\n{markdown(rows)}")


if __name__ == "__main__":
    main()
