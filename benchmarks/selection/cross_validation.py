"""Cross-validation compared with held-out data for few samples: test NLL and errors on scikit-learn's digits.

    python -m benchmarks.selection.cross_validation --samples 150 300 --seeds 3

Both select four of the same candidates, random settings of an MLP of scikit-learn, with the rule of `build_ensemble`.
Held-out data are a fifth of the samples; cross-validation has five folds. Candidates have the weights of their best
epoch, or of any epoch as with `checkpoints="ensemble"`. Networks for all samples are trained for the (median) best
epoch. Each seed draws the samples; all others are for the test. Each line of the standard error is a run.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from benchmarks import experiment
from benchmarks.selection.rules import nll
from keras_hyperens.search.folds import Fold
from keras_hyperens.search.folds import folds_of
from keras_hyperens.search.selection import Selection
from keras_hyperens.search.selection import greedy_selection

TRIALS, EPOCHS, BATCH_SIZE, FOLDS = 16, 40, 32, 5
SIZE = 4  # K
CLASSES = np.arange(10)
Scores = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Data:
    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray

    def scores(self, predictions: np.ndarray) -> tuple[float, float]:
        """Returns the test NLL and the fraction of errors."""
        return nll(predictions, self.y_test), float((predictions.argmax(-1) != self.y_test).mean())


def data_of(samples: int, seed: int) -> Data:
    digits = load_digits()
    order = np.random.default_rng(seed).permutation(len(digits.target))
    x, y = digits.data[order] / 16, digits.target[order]
    return Data(x[:samples], y[:samples], x[samples:], y[samples:])


def network(trial: int, seed: int, training: int) -> MLPClassifier:
    """Returns an untrained network of a trial, which has the same settings in all of its training runs."""
    random = np.random.default_rng([seed, trial])
    settings = {"alpha": 10 ** random.uniform(-4, 1), "learning_rate_init": 10 ** random.uniform(-3, -1.7)}
    size = int(2 ** random.uniform(4, 7))
    state = int(np.random.SeedSequence([seed, trial, training]).generate_state(1)[0])
    return MLPClassifier((size,), batch_size=BATCH_SIZE, random_state=state, **settings)


def trained_on(data: Data, fold: Fold, model: MLPClassifier) -> tuple[np.ndarray, np.ndarray]:
    """Returns predictions of held-out and test samples after each epoch, `[epochs, N, C]`."""
    held_out, test = [], []
    for _ in range(EPOCHS):
        model.partial_fit(data.x[fold.training], data.y[fold.training], classes=CLASSES)
        held_out.append(model.predict_proba(data.x[fold.held_out]).astype("float32"))
        test.append(model.predict_proba(data.x_test).astype("float32"))
    return np.stack(held_out), np.stack(test)


def best_of(data: Data, fold: Fold, every: tuple[np.ndarray, np.ndarray]) -> tuple[int, np.ndarray, np.ndarray]:
    """Returns the best number of epochs on the held-out samples, and its predictions of held-out and test samples."""
    best = int(np.argmin([nll(each, data.y[fold.held_out]) for each in every[0]]))
    return best + 1, every[0][best], every[1][best]


def among_epochs(data: Data, fold: Fold, trials: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Returns test predictions of members selected after each epoch among the previous members and all candidates."""
    labels, best, members = data.y[fold.held_out], math.inf, list[tuple[int, int]]()
    for epoch in range(EPOCHS):
        offered = [*members, *((trial, epoch) for trial in range(len(trials)))]
        found = _chosen([trials[trial][0][at] for trial, at in offered], labels)
        if found.trajectory[-1] < best:
            best, members = found.trajectory[-1], [offered[index] for index in found.members]
    bests = [(trial, best_of(data, fold, every)[0] - 1) for trial, every in enumerate(trials)]
    everyone = list(dict.fromkeys([*bests, *members]))
    chosen = _chosen([trials[trial][0][at] for trial, at in everyone], labels)
    return _mean([trials[trial][1][at] for trial, at in everyone], chosen)


def trained_on_all(data: Data, epochs: int, model: MLPClassifier) -> np.ndarray:
    """Trains on all samples and returns test predictions."""
    for _ in range(epochs):
        model.partial_fit(data.x, data.y, classes=CLASSES)
    return model.predict_proba(data.x_test)


def measure(samples: int, seed: int) -> Scores:
    """Returns the scores of each ensemble."""
    data = data_of(samples, seed)
    folds = folds_of(FOLDS, [data.y], None, seed)
    every = [trained_on(data, folds[0], network(trial, seed, 0)) for trial in range(TRIALS)]
    of_trials = [[best_of(data, folds[0], each)] for each in every]
    for trial, parts in enumerate(of_trials):
        for number, fold in enumerate(folds[1:], start=1):
            parts.append(best_of(data, fold, trained_on(data, fold, network(trial, seed, number))))
    first = folds[0].held_out
    chosen = _chosen([each[0][1] for each in of_trials], data.y[first])
    test = [each[0][2] for each in of_trials]
    scores = {"held-out data": data.scores(_mean(test, chosen))}
    many = _chosen([each[0][1] for each in of_trials], data.y[first], TRIALS)
    scores["held-out data, all candidates"] = data.scores(_mean(test, many))
    scores["held-out data, all epochs"] = data.scores(among_epochs(data, folds[0], every))
    again = _again(data, chosen, [each[0][0] for each in of_trials], seed)
    scores["held-out data, trained again on all"] = data.scores(again)
    order = np.argsort(np.concatenate([fold.held_out for fold in folds]))
    joined = [np.concatenate([part[1] for part in each])[order] for each in of_trials]
    chosen = _chosen(joined, data.y)
    means = [np.mean([part[2] for part in each], axis=0) for each in of_trials]
    scores["cross-validation, means of folds"] = data.scores(_mean(means, chosen))
    medians = [int(np.median([part[0] for part in each])) for each in of_trials]
    scores["cross-validation, trained again on all"] = data.scores(_again(data, chosen, medians, seed))
    print(json.dumps({"samples": samples, "seed": seed, **scores}), file=sys.stderr, flush=True)
    return scores


def _chosen(predictions: list[np.ndarray], labels: np.ndarray, size: int = SIZE) -> Selection:
    return greedy_selection(np.stack(predictions), labels, size, tolerance=-math.inf, weights="convex", seed=0)


def _mean(predictions: Sequence[np.ndarray], chosen: Selection) -> np.ndarray:
    return np.average([predictions[index] for index in chosen.members], axis=0, weights=chosen.weights)


def _again(data: Data, chosen: Selection, epochs: Sequence[int], seed: int) -> np.ndarray:
    trained = [trained_on_all(data, epochs[index], network(index, seed, FOLDS)) for index in chosen.members]
    return np.average(trained, axis=0, weights=chosen.weights)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, nargs="+", default=[150, 300])
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    runs = {samples: [measure(samples, seed) for seed in range(arguments.seeds)] for samples in arguments.samples}
    names = next(iter(runs.values()))[0]
    rows = [[name, *(_cell([run[name] for run in each]) for each in runs.values())] for name in names]
    print(experiment.table(["", *(f"{samples} samples" for samples in runs)], rows))


def _cell(scores: list[Any]) -> str:
    losses, errors = zip(*scores, strict=True)
    each = ", ".join(f"{loss:.3f}" for loss in losses)
    return f"{np.mean(losses):.3f} ({each}), {100 * np.mean(errors):.1f} %"


if __name__ == "__main__":
    main()
