"""Tables of all runs."""

from collections.abc import Iterable

import numpy as np

from benchmarks import experiment
from benchmarks.experiment import Run
from benchmarks.experiment import mean_and_error

OURS = ("hyper-deep", "hyper-batch-4", "hyper-batch-16", "hyper-batch-32")
PEERS = ("tabm-16", "tabm-32", "lightgbm")
METHODS, BASELINES = ("mlp", "deep", *OURS, *PEERS), ("mlp", "deep", *PEERS)
NAMES = {"nll": "NLL", "accuracy": "accuracy", "auroc": "AUROC", "ece": "ECE", "rmse": "RMSE", "coverage": "coverage"}
BUDGET = ("train_samples", "seconds_to_tune", "steps", "width")
Table = dict[str, dict[int, Run]]  # by method and seed


def report(done: list[Run]) -> str:
    """Returns Markdown: differences of NLL between methods, and a table per dataset and budget."""
    found = by_title(done)
    if not found:
        return ""
    return "\n\n".join([_pairs(found), *(f"{title}\n\n{_table(table)}" for title, table in found.items())])


def by_title(done: list[Run]) -> dict[str, Table]:
    """Returns runs by title of the table, method and seed; each budget has a separate table."""
    found: dict[str, list[Run]] = {}
    for run in done:
        budget = ", ".join(f"{name.replace('_', ' ')} {run[name]:g}" for name in BUDGET)
        found.setdefault(f"{run['dataset']}: {budget}", []).append(run)
    return {title: experiment.by_seed(runs, METHODS) for title, runs in found.items()}


def _table(by_method: Table) -> str:
    first = next(iter(next(iter(by_method.values())).values()))
    scores = [name for name in NAMES if name in first]
    later = [name for name in scores if name in first.get("later", ())]
    rows = [_row(method, list(of_seed.values()), scores, later) for method, of_seed in by_method.items()]
    columns = ["", *map(NAMES.get, scores), *(f"later: {NAMES[name]}" for name in later)]
    return experiment.table([*columns, "seconds", "parameters", "µs a sample", "trials", "seeds"], rows)


def _row(method: str, runs: list[Run], scores: Iterable[str], later: Iterable[str]) -> list[str]:
    cells = [mean_and_error([run[name] for run in runs]) for name in scores]
    cells += [mean_and_error([run["later"][name] for run in runs]) for name in later]
    means = {name: np.mean([run[name] for run in runs]) for name in ("seconds", "parameters", "microseconds", "trials")}
    cells += [f"{means['seconds']:.0f}", f"{means['parameters']:,.0f}", f"{means['microseconds']:.1f}"]
    return [f"**{method}**" if method in OURS else method, *cells, f"{means['trials']:.0f}", str(len(runs))]


def _pairs(found: dict[str, Table]) -> str:
    """Mean NLL difference of each of our methods to each baseline, and the number of seeds in which it is negative."""
    rows = []
    for title, table in found.items():
        for ours in OURS:
            cells = [_difference(table.get(ours, {}), table.get(theirs, {})) for theirs in BASELINES]
            rows += [[title.partition(":")[0], ours, *cells]] if any(cells) else []
    return experiment.table(["NLL minus that of", "", *BASELINES], rows)


def _difference(ours: dict[int, Run], theirs: dict[int, Run]) -> str:
    gaps = [run["nll"] - theirs[seed]["nll"] for seed, run in ours.items() if seed in theirs]
    return f"{np.mean(gaps):+.4f} ({sum(gap < 0 for gap in gaps)} of {len(gaps)})" if gaps else ""
