"""Tables of two earlier protocols; their runs are in `former_results/`.

    python -m benchmarks.paper.former

The first compares a batch ensemble, a hyper-batch ensemble and a single network. L2 and dropout of the batch ensemble
(and of the single network) are the best of a grid of eight on held-out data, with seeds from 1000 on, which are not
reported; so is whether the hyper-batch ensemble tunes dropout. The second uses one KerasTuner random search over L2,
dropout and the learning rate for its best network, a deep ensemble of it, and a hyper-deep ensemble.
"""

import pathlib

from benchmarks import experiment
from benchmarks.experiment import Run

FOLDER = pathlib.Path(__file__).parent / "former_results"
FIRST_SELECTION_SEED = 1000
SHARED = ("single", "batch", "hyper-batch")
SEPARATE = ("single best", "deep ensemble", "hyper-deep ensemble")


def main() -> None:
    print(of_shared(experiment.read(FOLDER / "quality.jsonl")))
    print(f"\n{of_separate(experiment.read(FOLDER / 'hyper_deep.jsonl'))}")


def of_shared(done: list[Run]) -> str:
    """A Markdown table per data set: means and standard errors over seeds, and who wins how often."""
    done = [run for run in done if run["seed"] < FIRST_SELECTION_SEED]
    columns = ["", "NLL", "accuracy", "ECE", "/ batch ensemble's", "lower"]
    columns += ["calibrated: NLL", "ECE", "/ batch ensemble's", "lower"]
    tables = []
    for name in dict.fromkeys(run["dataset"] for run in done):
        runs = [run for run in done if run["dataset"] == name]
        as_trained = experiment.by_seed(runs, SHARED)
        after = experiment.by_seed([{**run, **run["calibrated"]} for run in runs if "calibrated" in run], SHARED)
        rows = []
        for method, of_seed in as_trained.items():
            calibrated = experiment.cells(after[method], after["batch"]) if method in after else [""] * 5
            nll, _, *others = calibrated  # the accuracy stays
            rows.append([method, *experiment.cells(of_seed, as_trained["batch"]), nll, *others])
        size, rate = max(run["ensemble_size"] for run in runs), runs[0]["learning_rate"]
        budget = f"{size} members, {len({run['seed'] for run in runs})} seeds, learning rate {rate:g}"
        tables.append(
            f"{name}: {runs[0]['train_rows']} training samples, {budget}\n\n{experiment.table(columns, rows)}"
        )
    return "\n\n".join(tables)


def of_separate(done: list[Run]) -> str:
    """A Markdown table: means and standard errors over seeds, and how often hyper-deep wins."""
    of_methods = experiment.by_seed(done, SEPARATE)
    rows = [[name, *experiment.cells(of_seed, of_methods["deep ensemble"])] for name, of_seed in of_methods.items()]
    columns = ["", "NLL", "accuracy", "ECE", "NLL / deep ensemble's", "lower NLL"]
    size, trials, seeds = done[0]["ensemble_size"], done[0]["trials"], len(of_methods["deep ensemble"])
    budget = f"{size} members, {trials} trials, {seeds} seeds"
    title = f"{done[0]['dataset']}: {done[0]['train_rows']} training samples, {budget}"
    return f"{title}\n\n{experiment.table(columns, rows)}"


if __name__ == "__main__":
    main()
