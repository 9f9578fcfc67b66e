"""Runs of a comparison over seeds: one a line of a file, so that one that was interrupted goes on where it stopped."""

import argparse
import json
import pathlib
from typing import Any

import numpy as np

RESULTS = pathlib.Path(__file__).parent / "results"
Run = dict[str, Any]


def parser(description: str | None, results: str) -> argparse.ArgumentParser:
    """The options that every comparison has; `results` is the name of its file."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--data-dir")
    parser.add_argument("--train-rows", type=int, default=10_000)
    parser.add_argument("--held-out-rows", type=int, default=2_000)
    parser.add_argument("--ensemble-size", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--results", type=pathlib.Path, default=RESULTS / results)
    parser.add_argument("--report", action="store_true", help="only print the tables")
    return parser


def read(results: pathlib.Path) -> list[Run]:
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def find(results: pathlib.Path, cell: Run) -> Run | None:
    """The first run there with these settings, or `None`."""
    return next((run for run in read(results) if cell.items() <= run.items()), None)


def append(results: pathlib.Path, added: list[Run]) -> None:
    """Writes runs, all of them together, and prints them."""
    lines = "".join(json.dumps(run) + "\n" for run in added)
    results.parent.mkdir(parents=True, exist_ok=True)
    with results.open("a") as file:
        file.write(lines)
    print(lines, end="", flush=True)


def cells(of_seed: dict[int, Run], baseline: dict[int, Run]) -> list[str]:
    """A row of a table, but for the method's name: scores, the NLL over the baseline's, how often it is lower."""
    scores = [mean_and_error([run[name] for run in of_seed.values()]) for name in ("nll", "accuracy", "ece")]
    ratios = [run["nll"] / baseline[seed]["nll"] for seed, run in of_seed.items() if seed in baseline]
    return [*scores, f"{np.mean(ratios or [np.nan]):.3f}", f"{sum(ratio < 1 for ratio in ratios)} of {len(ratios)}"]


def mean_and_error(values: list[float]) -> str:
    """Mean and standard error, which one value alone has not."""
    error = f" ± {np.std(values, ddof=1) / np.sqrt(len(values)):.4f}" if len(values) > 1 else ""
    return f"{np.mean(values):.4f}{error}"
