"""All measurements of cost, in one table.

    python -m benchmarks.speed                            # everything, some minutes on 2 cores
    python -m benchmarks.speed --parts steps --repetitions 10

Written to `benchmarks/results/speed.json`, with the machine and the versions. Ratios are of medians of interleaved
repetitions in one run; on a busy machine they hold, single times do not.
"""

import argparse
import importlib.metadata
import json
import os
import pathlib
import platform
from dataclasses import asdict

from benchmarks import runs
from benchmarks.speed import pool
from benchmarks.speed import steps
from benchmarks.speed.aim import table

PARTS = {"steps": steps.measure, "pool": pool.measure}


def main() -> None:
    options = _options()
    aims = []
    for part in options.parts:
        for aim in PARTS[part](options.repetitions):
            print(f"{aim.part}: {aim.name}: {aim.ratio:.2f}", flush=True)
            aims.append(aim)
    machine = _machine()
    print(f"\n{', '.join(f'{name} {value}' for name, value in machine.items())}\n\n{table(aims)}")
    options.results.write_text(json.dumps({"machine": machine, "aims": [asdict(aim) for aim in aims]}, indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--results", type=pathlib.Path, default=runs.RESULTS / "speed.json")
    return parser.parse_args()


def _machine() -> dict[str, str]:
    versions = {name: importlib.metadata.version(name) for name in ("tensorflow", "keras", "numpy")}
    return {
        "cores": str(os.cpu_count()),
        "processor": platform.machine(),
        "python": platform.python_version(),
    } | versions


if __name__ == "__main__":
    main()
