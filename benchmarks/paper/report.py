"""The tables and plots of all runs so far, printed and written into README.md between two marks."""

import pathlib

import numpy as np

from benchmarks import experiment
from benchmarks.experiment import Run
from benchmarks.experiment import Scores
from benchmarks.experiment import mean_and_error
from benchmarks.paper import ablation
from benchmarks.paper import figures
from benchmarks.paper.methods import METHODS
from benchmarks.paper.methods import SIZES

BEGIN, END = "<!-- what --report prints begins here -->", "<!-- and ends here -->"
PAIRS = (("hyper-deep", "deep"), ("hyper-batch", "batch"), ("hyper-batch", "self-tuning"))
NOT_COMMON = ("seed", "method", "nll", "accuracy", "ece", "calibrated", "network_epochs", "seconds")
PUBLISHED = {  # on CIFAR-100, of WRN-28-10 with 4 members, by the paper and uncertainty-baselines
    "deep": Scores(0.666, 0.827, 0.021),
    "hyper-deep": Scores(0.654, 0.830, 0.022),
    "batch": Scores(0.690, 0.819, 0.0265),
    "hyper-batch": Scores(0.678, 0.819, 0.020),
}
Table = dict[str, dict[int, Run]]  # by method and seed


def publish(folder: pathlib.Path) -> None:
    """Prints the report, puts it into the README of the folder if it has the marks for it, and draws the plots."""
    done = [run for file in sorted((folder / "results").glob("*.jsonl")) for run in experiment.read(file)]
    text = report(done, experiment.read(folder / ablation.FILE))
    print(text)
    plots = figures.draw(tables(done), experiment.read(folder / SIZES), folder / "plots")
    pictures = [f"![{title}](plots/{file.name})" for title, file in plots.items()]
    readme = folder / "README.md"
    if done and readme.exists():
        readme.write_text(_between_marks(readme.read_text(), "\n\n".join([text, *pictures])))


def report(done: list[Run], ablated: list[Run]) -> str:
    """Markdown: a table of each cell, the paired comparisons of all, what was published, and the ablation."""
    if not done and not ablated:
        return "no runs yet"
    found = tables(done)
    parts = [f"{title}\n\n{_table(by_method)}" for title, by_method in found.items()]
    if done:
        parts += ["Seed by seed, and what was published:", _pairs(found), _published()]
    return "\n\n".join([*parts, *([ablation.report(ablated)] if ablated else [])])


def tables(done: list[Run]) -> dict[str, Table]:
    """Runs by the title of their table, method and seed; runs of another budget are another table."""
    found: dict[str, list[Run]] = {}
    for run in done:
        common = {name: value for name, value in run.items() if name not in NOT_COMMON}
        cell = f"{common.pop('dataset')}, {common.pop('network')}"
        title = ": ".join([cell, ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in common.items())])
        found.setdefault(title, []).append(run)
    return {title: experiment.by_seed(runs, METHODS) for title, runs in found.items()}


def _table(by_method: Table) -> str:
    rows = []
    for method, of_seed in by_method.items():
        each = list(of_seed.values())
        scores = [mean_and_error([run[name] for run in each]) for name in ("nll", "accuracy", "ece")]
        scores += [mean_and_error([run["calibrated"][name] for run in each]) for name in ("nll", "ece")]
        rows.append([method, *scores, str(each[0]["network_epochs"]), str(len(each))])
    columns = ["", "NLL", "accuracy", "ECE", "calibrated NLL", "calibrated ECE", "network-epochs", "seeds"]
    return experiment.table(columns, rows)


def _pairs(found: dict[str, Table]) -> str:
    rows = []
    for title, by_method in found.items():
        for ours, theirs in PAIRS:
            row = paired(by_method.get(ours, {}), by_method.get(theirs, {}))
            rows += [[title.partition(":")[0], f"{ours} / {theirs}", *row]] if row else []
    for ours, theirs in PAIRS[:2]:
        ratio = PUBLISHED[ours].nll / PUBLISHED[theirs].nll
        rows.append(["cifar100, wrn28-10, published", f"{ours} / {theirs}", f"{ratio:.3f}", "", "", ""])
    return experiment.table(["cell", "", "NLL ratio", "lower NLL", "accuracy no lower", "ECE no higher"], rows)


def paired(ours: dict[int, Run], theirs: dict[int, Run]) -> list[str]:
    """The mean ratio of the NLLs of equal seeds, and in how many seeds each score is better; nothing without seeds."""
    pairs = [(run, theirs[seed]) for seed, run in ours.items() if seed in theirs]
    if not pairs:
        return []
    wins = (
        sum(a["nll"] < b["nll"] for a, b in pairs),
        sum(a["accuracy"] >= b["accuracy"] for a, b in pairs),
        sum(a["ece"] <= b["ece"] for a, b in pairs),
    )
    return [f"{np.mean([a['nll'] / b['nll'] for a, b in pairs]):.3f}", *(f"{each} of {len(pairs)}" for each in wins)]


def _published() -> str:
    rows = [[name, f"{each.nll:g}", f"{each.accuracy:g}", f"{each.ece:g}"] for name, each in PUBLISHED.items()]
    return experiment.table(["published: cifar100, wrn28-10, 4 members", "NLL", "accuracy", "ECE"], rows)


def _between_marks(text: str, inside: str) -> str:
    if BEGIN not in text or END not in text:
        return text
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{inside}\n\n{END}{rest.partition(END)[2]}"
