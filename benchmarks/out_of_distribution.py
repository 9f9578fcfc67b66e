"""Do they know what they do not know? MNIST networks on rotated digits, on photographs, and on corrupted digits.

    python -m benchmarks.out_of_distribution --data-dir ../shared/tensorflow_datasets --seeds 3
    python -m benchmarks.out_of_distribution --report                    # tables and plot of what was run so far

Five methods: a single network and a batch ensemble with fixed L2 and dropout (the best of the grid of
`benchmarks.quality`), a hyper-batch ensemble with the same dropout that tunes L2, and a deep and a hyper-deep ensemble
out of one random search. Out-of-distribution images are the MNIST test images turned by 90 degrees, and CIFAR-10 test
images in gray; the score is the AUROC with which a measure of uncertainty tells them from MNIST test images. Each run
is a line of `benchmarks/results/out_of_distribution.jsonl`; runs that are there already are not repeated.
"""

import argparse
import pathlib
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import keras
import numpy as np

import keras_hyperens as khe
from benchmarks import hyper_deep
from benchmarks import methods
from benchmarks import runs
from benchmarks import shifts
from benchmarks.data import Data
from benchmarks.data import load
from keras_hyperens.reporting.numbers import auroc

FIXED = {"l2": 1e-3, "dropout": 0.25}
METHODS = ("single network", "batch ensemble", "hyper-batch ensemble", "deep ensemble", "hyper-deep ensemble")
MEASURES = ("predictive_entropy", "mutual_information")


def main() -> None:
    options = _options()
    if not options.report:
        data = load("mnist", options.data_dir, options.train_rows, options.held_out_rows)
        photographs = load("cifar10_jpeg", options.data_dir).test[0][: len(data.test[1])]
        strange = {
            "MNIST turned by 90°": shifts.rotated(data.test[0]),
            "CIFAR-10 in gray": shifts.gray(photographs, data.image_shape[0]),
        }
        for seed in range(options.seeds):
            _run(data, strange, seed, options)
    done = runs.read(options.results)
    print(report(done))
    if done:
        _plot(done, options.plot)


def _options() -> argparse.Namespace:
    parser = runs.parser(__doc__, "out_of_distribution.jsonl")
    parser.set_defaults(dataset="mnist", train_rows=6_000, seeds=3)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--directory", default="benchmark_runs", help="where the searches are kept")
    parser.add_argument("--plot", type=pathlib.Path, default=pathlib.Path("benchmark_runs/corruptions.png"))
    return parser.parse_args()


def _run(data: Data, strange: dict[str, np.ndarray], seed: int, options: argparse.Namespace) -> None:
    cell = {"train_rows": len(data.train[1]), "ensemble_size": options.ensemble_size, "seed": seed}
    if runs.find(options.results, cell):
        return
    finished = []
    for name, model in _trained(data, seed, options):
        finished.append({**cell, "method": name, **measured(model, data, strange)})
    runs.append(options.results, finished)
    keras.backend.clear_session()


def _trained(data: Data, seed: int, options: argparse.Namespace) -> Iterator[tuple[str, keras.Model]]:
    for name, method in zip(METHODS, methods.METHODS):
        settings = {"dropout": FIXED["dropout"]} if method == "hyper-batch" else FIXED
        model = methods.build(method, data, options.ensemble_size, settings, seed)
        methods.train(model, data, [])
        yield name, khe.HyperDeepEnsemble([model]) if method == "single" else model
    directory = pathlib.Path(options.directory) / f"{data.name}-{len(data.train[1])}-{seed}"
    schedule = methods.schedule_of(data)
    builder = hyper_deep.searched(data, schedule, options.ensemble_size, options.trials, directory, seed=seed)
    found = hyper_deep.ensembles(builder)
    yield from ((name, found[name]) for name in METHODS[3:])


def measured(model: keras.Model, data: Data, strange: dict[str, np.ndarray]) -> dict[str, Any]:
    """Scores on the test rows, AUROC against strange rows by measure, and scores on corrupted rows by strength."""
    images, labels = data.test
    usual = model.predict_uncertainty(images, MEASURES, batch_size=500, verbose=0)
    told_apart = {}
    for name, others in strange.items():
        unusual = model.predict_uncertainty(others, MEASURES, batch_size=500, verbose=0)
        told_apart[name] = {measure: auroc(usual[measure], unusual[measure]) for measure in MEASURES}
    corrupted = {
        name: [asdict(methods.score(model, (corrupt(images, strength), labels))) for strength in shifts.STRENGTHS]
        for name, corrupt in shifts.CORRUPTIONS.items()
    }
    return {**asdict(methods.scores(usual["prediction"], labels)), "auroc": told_apart, "corrupted": corrupted}


def report(done: list[runs.Run]) -> str:
    """Markdown tables: AUROC by measure, and scores on corrupted images; means and standard errors over seeds."""
    if not done:
        return "no runs yet"
    strange, corruptions = done[0]["auroc"], done[0]["corrupted"]
    columns = [f"{name}: {measure.replace('_', ' ')}" for name in strange for measure in MEASURES]
    lines = [f"AUROC, {len({run['seed'] for run in done})} seeds", "", *_head(["", "accuracy", *columns])]
    for method in METHODS:
        of_method = [run for run in done if run["method"] == method]
        values = [[run["accuracy"] for run in of_method]]
        values += [[run["auroc"][name][measure] for run in of_method] for name in strange for measure in MEASURES]
        lines.append("| " + " | ".join([method, *map(runs.mean_and_error, values)]) + " |")
    for corruption in corruptions:
        for score in ("nll", "accuracy", "ece"):
            lines += ["", f"{corruption}: {score}", "", *_head(["", "0", *map(str, shifts.STRENGTHS)])]
            for method, by_strength in curves(done, corruption, score).items():
                lines.append("| " + " | ".join([method, *(f"{value:.4f}" for value in by_strength)]) + " |")
    return "\n".join(lines)


def curves(done: list[runs.Run], corruption: str, score: str) -> dict[str, list[float]]:
    """Of each method, the mean of a score over seeds at strengths 0 (the test rows as they are) to 5."""
    found = {}
    for method in dict.fromkeys(run["method"] for run in done):
        of_method = [run for run in done if run["method"] == method]
        by_seed = [[run[score], *(each[score] for each in run["corrupted"][corruption])] for run in of_method]
        found[method] = [float(value) for value in np.mean(by_seed, axis=0)]
    return found


def _head(titles: list[str]) -> list[str]:
    return ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]


def _plot(done: list[runs.Run], path: pathlib.Path) -> None:
    import matplotlib.pyplot as plt

    names = list(done[0]["corrupted"])
    figure, axes = plt.subplots(3, len(names), figsize=(3.6 * len(names), 7.5), layout="constrained", sharex=True)
    for row, (score, title) in zip(axes, {"nll": "NLL", "accuracy": "accuracy", "ece": "ECE"}.items()):
        for ax, name in zip(row, names):
            khe.plots.corruption_curves(curves(done, name, score), metric=title, ax=ax)
            ax.set(title=name if score == "nll" else "", xlabel="strength" if score == "ece" else "")
            ax.get_legend().remove()
            ax.relim()
            ax.autoscale(axis="y")
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(METHODS), frameon=False
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    print(f"\n{path}")


if __name__ == "__main__":
    main()
