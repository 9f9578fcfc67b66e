"""The tables of README.md, docs/benchmarks.md and docs/choosing.md, made from the files of results.

    python -m benchmarks.page

Each table stands between two comments, of which the first names it.
"""

import json
import pathlib
import re
from collections.abc import Callable

from benchmarks import distillation
from benchmarks import experiment
from benchmarks import fine_tuning
from benchmarks.defaults import __main__ as defaults
from benchmarks.defaults.report import MAIN
from benchmarks.defaults.report import ratios
from benchmarks.defaults.report import runs_of
from benchmarks.paper import __main__ as paper
from benchmarks.paper import report
from benchmarks.paper.methods import SIZES
from benchmarks.selection import __main__ as selection
from benchmarks.selection.report import against
from benchmarks.speed.aim import Aim
from benchmarks.tasks import __main__ as tasks

ROOT = pathlib.Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "docs" / "benchmarks.md", ROOT / "docs" / "choosing.md")
COSTS = (
    "parameters / plain: LeNet",
    "parameters / plain: ResNet50V2",
    "training step / plain: LeNet, 128 rows a member, one draw per member",
    "training step / plain: LeNet, 128 rows a member, one draw per member, tuning every third step",
    "training step / plain: ResNet-8, 128 rows a member, one draw per member, tuning every third step",
    "training step / plain: MLP, 128 rows a member, one draw per member, tuning every third step",
    "peak memory / plain: LeNet, 256 rows a member, one draw per member",
    "peak memory / plain: ResNet-8, 256 rows a member, one draw per member",
    "4 exports / ours: LeNet, batch of 256",
    "4 exports / ours: LeNet, batch of 1",
)
AREA = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end -->)", re.S)


def main() -> None:
    for page in PAGES:
        page.write_text(filled(page.read_text()))


def filled(text: str) -> str:
    """The text, with every table as the results have it now."""
    return AREA.sub(lambda area: f"{area[1]}\n{TABLES[area[2]]()}\n\n{area[3]}", text)


def _paper(table: Callable[[dict[str, report.Table]], str]) -> Callable[[], str]:
    return lambda: table(report.tables(experiment.runs_of(paper.FOLDER)))


def _speed(only: tuple[str, ...] = ()) -> str:
    """All measurements of cost, or those of which the name, after the part's, is one of these."""
    content = json.loads((experiment.RESULTS / "speed.json").read_text())
    lines = [Aim(**line).measured for part in content["parts"].values() for line in part]
    chosen = [line for line in lines if not only or ": ".join(line[:2]) in only]
    machine = ", ".join(f"{name} {value}" for name, value in content["machine"].items())
    return f"{machine}\n\n{experiment.table(['', '', 'ratio', ''], chosen)}"


TABLES: dict[str, Callable[[], str]] = {
    "ratios": lambda: ratios(runs_of(defaults.FOLDER), [method for method in MAIN if method != "batch"]),
    "methods": _paper(report.nll_by_cell),
    "pairs": _paper(report.pairs),
    "diversity": _paper(lambda found: report.diversity(found, experiment.read(paper.FOLDER / SIZES))),
    "defaults": lambda: ratios(runs_of(defaults.FOLDER)),
    "distillation": lambda: distillation.report(experiment.read(experiment.RESULTS / "distillation.jsonl")),
    "selection": lambda: against(selection.lines(), "deep"),
    "tasks": lambda: tasks.report(experiment.read(experiment.RESULTS / "tasks.jsonl")),
    "fine-tuning": lambda: fine_tuning.report(experiment.read(experiment.RESULTS / "fine_tuning.jsonl")),
    "speed": _speed,
    "costs": lambda: _speed(COSTS),
}

if __name__ == "__main__":
    main()
