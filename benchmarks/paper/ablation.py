"""What matters in the defaults of hyper-batch: each choice switched off in turn, on one cell.

Seeds are others than those of the table, and the NLL on validation rows stands beside the test scores: defaults are
chosen by it.
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import keras

from benchmarks import experiment
from benchmarks.experiment import Run
from benchmarks.paper import methods
from benchmarks.paper.methods import Cell

FILE = "ablation.jsonl"
FIRST_SEED = 1000
NEVER = 10**9  # steps
Arguments = Callable[[], dict[str, Any]]  # made anew for each run: initializers and optimizers serve one model

DEFAULTS = "defaults"
OF_LAYERS: dict[str, Arguments] = {  # of `from_hypermodel`
    "members begin all over the ranges, without a search": lambda: {"initial_values": None},
    "initial intervals of 0.02": lambda: {"initial_width": 0.02},
    "initial intervals of 1/3": lambda: {"initial_width": 1 / 3},
    "embeddings N(0, 0.01)": lambda: {"embedding_initializer": keras.initializers.RandomNormal(0.0, 0.01)},
    "embeddings of each member": lambda: {"shared_embedding": False},
    "delta kernels like kernels": lambda: {"delta_kernel_initializer": "glorot_uniform"},
    "u = r and v = s": lambda: {"tie_fast_weights": True},
    "factors of random signs": lambda: {"fast_weight_initializer": "random_sign"},
    "factors N(1, 0.1)": lambda: {"fast_weight_initializer": keras.initializers.RandomNormal(1.0, 0.1)},
    "factors N(1, 0.35)": lambda: {"fast_weight_initializer": keras.initializers.RandomNormal(1.0, 0.35)},
    "factors N(1, 0.5)": lambda: {"fast_weight_initializer": keras.initializers.RandomNormal(1.0, 0.5)},
}
OF_COMPILE: dict[str, Arguments] = {
    "factors at half the learning rate": lambda: {"fast_weight_learning_rate": 0.5},
    "tuning rate 3e-3 throughout": lambda: {"tuning_optimizer": keras.optimizers.Adam(3e-3)},
    "tuning rate 3e-2 throughout": lambda: {"tuning_optimizer": keras.optimizers.Adam(3e-2)},
    "no entropy": lambda: {"entropy_weight": 0.0},
    "entropy weight 1e-3": lambda: {"entropy_weight": 1e-3},
    "tuning at every step": lambda: {"tuning_every": 1},
    "draws per row": lambda: {"sampling": "example"},
    "tuning by the member loss": lambda: {"tuning_loss": "member"},
    "no tuning": lambda: {"tuning_warmup": NEVER},
}
CHOICES = (DEFAULTS, *OF_LAYERS, *OF_COMPILE)


def run(cell: Cell) -> None:
    """Trains what is not there yet of one seed."""
    for choice in CHOICES:
        experiment.once(cell.results / FILE, cell.key(choice=choice), lambda choice=choice: _measured(choice, cell))


def _measured(choice: str, cell: Cell) -> Run:
    model = trained(choice, cell)
    validation = experiment.score(model, cell.data.validation).nll
    return {**asdict(experiment.score(model, cell.data.test)), "validation_nll": validation}


def trained(choice: str, cell: Cell) -> keras.Model:
    """The hyper-batch ensemble with one choice changed."""
    of_layers, of_compile = OF_LAYERS.get(choice, dict)(), OF_COMPILE.get(choice, dict)()
    return methods.hyper_batch(cell, of_compile, **of_layers)


def report(done: list[Run]) -> str:
    """A Markdown table for each cell: means and standard errors over seeds, and the NLL over that of the defaults."""
    columns = ["", "NLL", "accuracy", "ECE", "NLL / that of the defaults", "lower NLL", "validation NLL"]
    tables = []
    for cell in dict.fromkeys((run["dataset"], run["network"]) for run in done):
        runs = [run for run in done if (run["dataset"], run["network"]) == cell]
        rows = []
        for choice, of_seed in (by_choice := experiment.by_seed(runs, CHOICES, "choice")).items():
            validation = experiment.mean_and_error([run["validation_nll"] for run in of_seed.values()])
            rows.append([choice, *experiment.cells(of_seed, by_choice[DEFAULTS]), validation])
        seeds = f"{len({run['seed'] for run in runs})} seeds"
        title = f"{', '.join(cell)}: hyper-batch with one default changed, {seeds}"
        tables.append(f"{title}\n\n{experiment.table(columns, rows)}")
    return "\n\n".join(tables)
