"""Validation of the cost model of `docs/scale.md`.

    python -m benchmarks.scale             # a few minutes; writes benchmarks/results/scale.json
    python -m benchmarks.scale --report    # the tables of the last run and of large cases

Most points are counted: weights, bytes. Times are processor times, the minimum of interleaved repetitions, and never
absolute: a line through some of them is compared with another one. (The time of workers is wall time, because they
pause.)
"""

import argparse
import json
import pathlib
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import asdict

from benchmarks import experiment
from benchmarks.scale import counted
from benchmarks.scale import projections
from benchmarks.scale import timed
from benchmarks.scale.point import Point
from benchmarks.scale.point import table

PARTS: dict[str, Callable[[int], Iterator[Point]]] = {
    "weights": lambda repetitions: counted.measure_weights(),
    "reductions": lambda repetitions: counted.measure_reductions(),
    "steps": timed.measure_steps,
    "disk": lambda repetitions: counted.measure_disk(),
    "selection": timed.measure_selection,
    "workers": lambda repetitions: timed.measure_workers(),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--results", type=pathlib.Path, default=experiment.RESULTS / "scale.json")
    parser.add_argument("--report", action="store_true", help="only print the tables")
    options = parser.parse_args()
    results = json.loads(options.results.read_text()) if options.results.exists() else {}
    for part in () if options.report else options.parts:
        results[part] = []
        for point in PARTS[part](options.repetitions):
            print(f"{point.what}: {point.ratio:.3f}", flush=True)
            results[part].append(asdict(point))
        options.results.write_text(json.dumps(results, indent=1) + "\n")
    print(f"\n{report(results)}")


def report(results: dict[str, list[dict]]) -> str:
    """The points, in the order of the parts, and the large cases."""
    points = [Point(**point) for part in PARTS for point in results.get(part, [])]
    tables = [table(points), projections.trainings()]
    selections = [point for point in points if point.what.startswith("time of a selection")]
    elements = timed.LARGE[0] * timed.LARGE[1] * timed.CHOICES  # candidates, rows and choices
    tables += [projections.pools(1e9 * each.measured / elements) for each in selections]
    return "\n\n".join(tables)


if __name__ == "__main__":
    main()
