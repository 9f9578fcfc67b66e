"""Out-of-distribution detection: MNIST networks on rotated digits, photographs, and corrupted digits.

    python -m benchmarks.out_of_distribution --seeds 3
    python -m benchmarks.out_of_distribution --report                    # tables and plot of all runs

Five methods: a single network and a batch ensemble with fixed L2 and dropout (the best of a grid of eight on held-out
data), a hyper-batch ensemble with the same dropout that tunes L2, and a deep and a hyper-deep ensemble from one random
search. Out-of-distribution images are the MNIST test images rotated by 90 degrees, and gray CIFAR-10 test images; the
score is the AUROC of an uncertainty measure for separating them from MNIST test images. Each run is a line of
`benchmarks/results/out_of_distribution.jsonl`; existing runs are not repeated.
"""

import argparse
import pathlib
from dataclasses import asdict

import keras
import numpy as np

import keras_hyperens as khe
from benchmarks import experiment
from benchmarks import networks
from benchmarks import shifts
from benchmarks.data import Data
from benchmarks.data import load
from benchmarks.experiment import Run
from keras_hyperens.reporting.numbers import auroc

FIXED = {"l2": 1e-3, "dropout": 0.25}
SHARED = {
    "single network": ("single", FIXED),
    "batch ensemble": ("batch", FIXED),
    "hyper-batch ensemble": ("hyper-batch", {"dropout": FIXED["dropout"]}),
}
METHODS = (*SHARED, "deep ensemble", "hyper-deep ensemble")
MEASURES = ("predictive_entropy", "mutual_information")
SCORES = {"nll": "NLL", "accuracy": "accuracy", "ece": "ECE"}


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
            cell = {"train_rows": len(data.train[1]), "ensemble_size": options.ensemble_size, "seed": seed}
            for method in METHODS:
                experiment.once(
                    options.results,
                    {**cell, "method": method},
                    lambda method=method, seed=seed: measured(_trained(method, data, seed, options), data, strange),
                )
    done = experiment.read(options.results)
    print(report(done))
    if done:
        _plot(done, options.plot)


def _options() -> argparse.Namespace:
    file = experiment.RESULTS / "out_of_distribution.jsonl"
    parser = experiment.parser(__doc__, file, seeds=3)
    experiment.add_data(parser, train_rows=6_000)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--directory", default="benchmark_runs", help="directory of the searches")
    parser.add_argument("--plot", type=pathlib.Path, default=pathlib.Path("benchmark_runs/corruptions.png"))
    return parser.parse_args()


def _trained(method: str, data: Data, seed: int, options: argparse.Namespace) -> keras.Model:
    """A single network is wrapped: its uncertainty is asked for, too."""
    schedule = experiment.schedule_of(data)
    build_model = networks.hypermodel_of(data, schedule)
    if method in SHARED:
        kind, settings = SHARED[method]
        values = experiment.with_values(build_model, settings)[1]
        start = {} if kind == "single" else {"initial_values": {n: v for n, v in values.items() if n not in settings}}
        model = experiment.build(kind, build_model, settings, options.ensemble_size, seed, **start)
        experiment.train(model, data, schedule, "val_loss")
        return khe.HyperDeepEnsemble([model]) if kind == "single" else model
    builder = experiment.search(
        build_model,
        data,
        schedule,
        ensemble_size=options.ensemble_size,
        max_trials=options.trials,
        directory=pathlib.Path(options.directory) / f"{data.name}-{len(data.train[1])}-{seed}",
        seed=seed,
    )
    return builder.build_deep_ensemble() if method == "deep ensemble" else builder.build_ensemble()


def measured(model: keras.Model, data: Data, strange: dict[str, np.ndarray]) -> Run:
    """Scores on the test rows, AUROC against strange rows by measure, and scores on corrupted rows by strength."""
    images, labels = data.test
    usual = model.predict_uncertainty(images, MEASURES, batch_size=500, verbose=0)
    told_apart = {}
    for name, others in strange.items():
        unusual = model.predict_uncertainty(others, MEASURES, batch_size=500, verbose=0)
        told_apart[name] = {measure: auroc(usual[measure], unusual[measure]) for measure in MEASURES}
    corrupted = {
        name: [asdict(experiment.score(model, (corrupt(images, strength), labels))) for strength in shifts.STRENGTHS]
        for name, corrupt in shifts.CORRUPTIONS.items()
    }
    return {**asdict(experiment.scores(usual["prediction"], labels)), "auroc": told_apart, "corrupted": corrupted}


def report(done: list[Run]) -> str:
    """Markdown tables: AUROC by measure, and scores on corrupted images; means and standard errors over seeds."""
    if not done:
        return "no runs yet"
    told = [(name, measure) for name in done[0]["auroc"] for measure in MEASURES]
    rows = []
    for method, of_seed in experiment.by_seed(done, METHODS).items():
        each = list(of_seed.values())
        values = [[run["accuracy"] for run in each], *([run["auroc"][n][m] for run in each] for n, m in told)]
        rows.append([method, *map(experiment.mean_and_error, values)])
    columns = ["", "accuracy", *(f"{name}: {measure.replace('_', ' ')}" for name, measure in told)]
    parts = [f"AUROC, {len({run['seed'] for run in done})} seeds", experiment.table(columns, rows)]
    for corruption in done[0]["corrupted"]:
        for score in SCORES:
            of_methods = curves(done, corruption, score).items()
            rows = [[method, *(f"{value:.4f}" for value in by_strength)] for method, by_strength in of_methods]
            columns = ["", "0", *map(str, shifts.STRENGTHS)]
            parts += [f"{corruption}: {score}", experiment.table(columns, rows)]
    return "\n\n".join(parts)


def curves(done: list[Run], corruption: str, score: str) -> dict[str, list[float]]:
    """Of each method, the mean of a score over seeds at strengths 0 (the test rows as they are) to 5."""
    found = {}
    for method, of_seed in experiment.by_seed(done, METHODS).items():
        each = [[run[score], *(one[score] for one in run["corrupted"][corruption])] for run in of_seed.values()]
        found[method] = [float(value) for value in np.mean(each, axis=0)]
    return found


def _plot(done: list[Run], path: pathlib.Path) -> None:
    import matplotlib.pyplot as plt

    names = list(done[0]["corrupted"])
    figure, axes = plt.subplots(3, len(names), figsize=(3.6 * len(names), 7.5), layout="constrained", sharex=True)
    for row, (score, title) in zip(axes, SCORES.items()):
        for ax, name in zip(row, names):
            khe.plots.corruption_curves(curves(done, name, score), metric=title, ax=ax)
            ax.set(title=name if score == "nll" else "", xlabel="strength" if score == "ece" else "")
            ax.get_legend().remove()
            ax.relim()
            ax.autoscale(axis="y")
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=len(METHODS), frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    print(f"\n{path}")


if __name__ == "__main__":
    main()
