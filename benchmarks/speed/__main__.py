"""Measurements of time and memory in one table.

    python -m benchmarks.speed                            # all parts except slow ones, half an hour on 2 cores
    python -m benchmarks.speed --parts steps --repetitions 10
    python -m benchmarks.speed --parts largest-selection  # 10 GB on disk
    python -m benchmarks.speed --parts peers              # selection of AutoGluon and the reference, up to 10 GB
    python -m benchmarks.speed --parts kernels            # implementations of a convolution
    python -m benchmarks.speed --parts ensembles          # a search in groups against RandomSearch, to an ensemble
    python -m benchmarks.speed --report                   # the table of all runs

Results are written to `benchmarks/results/speed.json`, with the machine and the versions: a part replaces its last run,
and other parts are kept if they were run on the same machine. Ratios are those of medians of interleaved repetitions in
one run, which are robust on a shared machine, unlike single times.
"""

import argparse
import importlib.metadata
import json
import os
import pathlib
import platform
from dataclasses import asdict

from benchmarks import experiment
from benchmarks.speed import forms
from benchmarks.speed import prediction
from benchmarks.speed import reference
from benchmarks.speed import searches
from benchmarks.speed import selection
from benchmarks.speed import start
from benchmarks.speed import training
from benchmarks.speed.aim import Aim
from benchmarks.speed.aim import table

PARTS = {
    "steps": training.measure_steps,
    "forms": forms.measure_dense,
    "reference": reference.measure,
    "prediction": prediction.measure,
    "memory": training.measure_memory,
    "selection": selection.measure_growth,
    "start": start.measure,
    "input": training.measure_input,
    "pool": searches.measure,
}
ASKED_FOR = {
    "largest-selection": selection.measure_largest,  # takes minutes and much room on disk
    "peers": selection.measure_peers,
    "kernels": forms.measure_convolutions,
    "ensembles": searches.measure_ensembles,  # takes ten minutes
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=[*PARTS, *ASKED_FOR])
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--results", type=pathlib.Path, default=experiment.RESULTS / "speed.json")
    parser.add_argument("--report", action="store_true", help="only print the table")
    options = parser.parse_args()
    machine = _machine()
    results = _read(options.results, machine)
    for part in () if options.report else options.parts:
        results[part] = []
        for aim in (PARTS | ASKED_FOR)[part](options.repetitions):
            print(f"{aim.part}: {aim.name}: {aim.ratio:.2f}", flush=True)
            results[part].append(aim)
        parts = {part: [asdict(aim) for aim in aims] for part, aims in results.items()}
        options.results.write_text(json.dumps({"machine": machine, "parts": parts}, indent=1) + "\n")
    aims = [aim for part in results.values() for aim in part]
    print(f"\n{', '.join(f'{name} {value}' for name, value in machine.items())}\n\n{table(aims)}")


def _read(file: pathlib.Path, machine: dict[str, str]) -> dict[str, list[Aim]]:
    """What parts measured on this machine before."""
    content = json.loads(file.read_text()) if file.exists() else {}
    if content.get("machine") != machine:
        return {}
    return {part: [Aim(**aim) for aim in aims] for part, aims in content["parts"].items()}


def _machine() -> dict[str, str]:
    return {
        "cores": str(os.cpu_count()),
        "processor": _processor(),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in ("tensorflow", "keras", "numpy")},
    }


def _processor() -> str:
    """The model's name where Linux says it, else the architecture."""
    file = pathlib.Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    main()
