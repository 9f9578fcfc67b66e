"""Test NLL against the size of the ensemble, deep and hyper-deep, from the candidates that the search left on disk."""

from benchmarks import runs
from benchmarks.methods import score
from benchmarks.paper import methods
from benchmarks.paper.cells import Cell

FILE = "sizes.jsonl"


def run(cell: Cell) -> None:
    """Adds the lines of a cell and seed, unless they are there; trains nothing once the search is done."""
    if runs.find(cell.results / FILE, cell.key()):
        return
    builder = methods.searched(cell)
    found = []
    for size in range(1, cell.ensemble_size + 1):
        built = {"deep": builder.build_deep_ensemble(size), "hyper-deep": builder.build_ensemble(size)}
        for method, ensemble in built.items():
            found.append({**cell.key(method=method, size=size), "nll": score(ensemble, cell.data.test).nll})
    runs.append(cell.results / FILE, found)
