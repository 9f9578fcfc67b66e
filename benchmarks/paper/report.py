"""The tables and plots of all runs so far, printed and written into README.md between two marks."""

import pathlib

import numpy as np

from benchmarks import experiment
from benchmarks.experiment import Run
from benchmarks.experiment import Scores
from benchmarks.experiment import mean_and_error
from benchmarks.paper import figures
from benchmarks.paper.methods import METHODS
from benchmarks.paper.methods import SIZES

NO_RUNS = "no runs yet"
PAIRS = (
    ("hyper-deep", "deep"),
    ("hyper-batch", "batch"),
    ("hyper-batch", "batch-distinct-rows"),
    ("hyper-batch", "self-tuning"),
    ("hyper-batch", "deep"),
)
BUDGET = ("train_rows", "held_out_rows", "ensemble_size", "trials", "epochs")
DIVERSITY = {
    "disagreement": "disagreement",
    "disagreement_over_error": "disagreement / error",
    "mutual_information": "mutual information",
    "mutual_information_out_of_distribution": "out of distribution",
    "auroc_entropy": "AUROC, entropy",
    "auroc_mutual_information": "AUROC, mutual information",
}
PUBLISHED = {  # on CIFAR-100, of WRN-28-10 with 4 members, by the paper and uncertainty-baselines
    "deep": Scores(0.666, 0.827, 0.021),
    "hyper-deep": Scores(0.654, 0.830, 0.022),
    "batch": Scores(0.690, 0.819, 0.0265),
    "hyper-batch": Scores(0.678, 0.819, 0.020),
}
SCORES = ("nll", "accuracy", "ece", "calibrated_nll", "calibrated_ece")
Table = dict[str, dict[int, Run]]  # by method and seed


def publish(folder: pathlib.Path) -> None:
    """Prints the report, puts it into the README of the folder if it has the marks for it, and draws the plots."""
    done, sizes = experiment.runs_of(folder), experiment.read(folder / SIZES)
    if not done:
        return print(NO_RUNS)
    plots = figures.draw(tables(done), sizes, folder / "plots")
    pictures = [f"![{title}](plots/{file.name})" for title, file in plots.items()]
    experiment.publish(folder, report(done, sizes), pictures)


def report(done: list[Run], sizes: list[Run]) -> str:
    """Markdown: the scores of each cell, the paired comparisons of all, how members differ, and what was published."""
    if not done:
        return NO_RUNS
    found = tables(done)
    parts = [f"{title}\n\n{_table(by_method)}" for title, by_method in found.items()]
    parts += ["Seed by seed, and what was published:", pairs(found), _published()]
    parts += ["How members differ; out-of-distribution samples are MNIST's test images:", diversity(found, sizes)]
    return "\n\n".join(parts)


def tables(done: list[Run]) -> dict[str, Table]:
    """Runs by the title of their table, method and seed; runs of another budget are another table."""
    found: dict[str, list[Run]] = {}
    for run in done:
        budget = ", ".join(f"{name.replace('_', ' ')} {run[name]}" for name in BUDGET)
        title = f"{run['dataset']}, {run['network']}: {budget}"
        found.setdefault(title, []).append(run)
    return {title: experiment.by_seed(runs, METHODS) for title, runs in found.items()}


def _table(by_method: Table) -> str:
    rows = []
    for method, of_seed in by_method.items():
        each = list(of_seed.values())
        scores = [mean_and_error([run[name] for run in each]) for name in SCORES]
        rows.append([method, *scores, str(each[0]["network_epochs"]), str(len(each))])
    columns = ["", "NLL", "accuracy", "ECE", "calibrated NLL", "calibrated ECE", "network-epochs", "seeds"]
    return experiment.table(columns, rows)


def nll_by_cell(found: dict[str, Table]) -> str:
    """A row for each method, a column for each cell."""
    columns = ["NLL", *(experiment.label(title.partition(":")[0]) for title in found)]
    rows = []
    for method in METHODS:
        runs = [list(by_method.get(method, {}).values()) for by_method in found.values()]
        cells = [mean_and_error([run["nll"] for run in of_cell]) if of_cell else "" for of_cell in runs]
        rows += [[method, *cells]] if any(cells) else []
    return experiment.table(columns, rows)


def pairs(found: dict[str, Table]) -> str:
    """Mean ratios of NLL and, in how many seeds which score is better."""
    rows = []
    for title, by_method in found.items():
        for ours, theirs in PAIRS:
            row = paired(by_method.get(ours, {}), by_method.get(theirs, {}))
            rows += [[title.partition(":")[0], f"{ours} / {theirs}", *row]] if row else []
    for ours, theirs in PAIRS[:2]:
        ratio = PUBLISHED[ours].nll / PUBLISHED[theirs].nll
        rows.append(["cifar100, wrn28-10, published", f"{ours} / {theirs}", f"{ratio:.3f}", *[""] * 4])
    columns = ["NLL ratio", "both calibrated", "lower NLL", "accuracy no lower", "calibrated ECE no higher"]
    return experiment.table(["cell", "", *columns], rows)


def paired(ours: dict[int, Run], theirs: dict[int, Run]) -> list[str]:
    """The mean ratio of the NLLs of equal seeds, and in how many seeds each score is better; nothing without seeds."""
    pairs = [(run, theirs[seed]) for seed, run in ours.items() if seed in theirs]
    if not pairs:
        return []
    ratios = [f"{np.mean([a[name] / b[name] for a, b in pairs]):.3f}" for name in ("nll", "calibrated_nll")]
    wins = (
        sum(a["nll"] < b["nll"] for a, b in pairs),
        sum(a["accuracy"] >= b["accuracy"] for a, b in pairs),
        sum(a["calibrated_ece"] <= b["calibrated_ece"] for a, b in pairs),
    )
    return [*ratios, *(f"{each} of {len(pairs)}" for each in wins)]


def diversity(found: dict[str, Table], sizes: list[Run]) -> str:
    """How much members differ, in distribution and out of it, and how many separate networks they are worth."""
    rows = []
    for title, by_method in found.items():
        cell = title.partition(":")[0]
        of_cell = [run for run in sizes if f"{run['dataset']}, {run['network']}" == cell]
        curve = figures.curves(of_cell, "calibrated_nll").get("deep", [])
        for method, of_seed in by_method.items():
            values = [mean_and_error([run[name] for run in of_seed.values()]) for name in DIVERSITY]
            nll = float(np.mean([run["calibrated_nll"] for run in of_seed.values()]))
            rows.append([cell, method, *values, equivalent(nll, curve) if curve else ""])
    return experiment.table(["cell", "", *DIVERSITY.values(), "deep-ensemble equivalent"], rows)


def equivalent(nll: float, curve: list[float]) -> str:
    """How many separate networks have this calibrated NLL: a position on the curve of deep ensembles of 1, 2, ...

    References:
        - Ashukha et al., [Pitfalls of In-Domain Uncertainty Estimation](https://arxiv.org/abs/2002.06470)
    """
    better = [number for number, value in enumerate(curve) if value < min(curve[:number], default=np.inf)]
    values = [curve[number] for number in better]
    if nll > values[0]:
        return "below 1"
    if nll < values[-1]:
        return f"above {len(curve)}"
    return f"{np.interp(-nll, np.negative(values), np.add(better, 1)):.1f}"


def _published() -> str:
    rows = [[name, f"{each.nll:g}", f"{each.accuracy:g}", f"{each.ece:g}"] for name, each in PUBLISHED.items()]
    return experiment.table(["published: cifar100, wrn28-10, 4 members", "NLL", "accuracy", "ECE"], rows)
