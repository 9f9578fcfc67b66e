"""The methods of the comparison, all from one hypermodel and by the package's public interface alone."""

import contextlib
import pathlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

import keras_hyperens as khe
from benchmarks import experiment
from benchmarks.data import Data
from benchmarks.experiment import Hypermodel
from benchmarks.experiment import Run
from benchmarks.experiment import Schedule
from benchmarks.paper import networks

AT_ONCE = 8  # candidates of a search in one graph
SETTINGS = "settings.jsonl"  # the best ones of each search
SIZES = "sizes.jsonl"  # test NLL against the number of members


@dataclass(frozen=True)
class Cell:
    """One seed of one cell of the table: data, network, and the budget that all methods have.

    Attributes:
        directory: Of the searches.
        results: The folder of all that was measured.
        strategy: A `tf.distribute.Strategy` for each training, or `None`.
    """

    data: Data
    network: str
    schedule: Schedule
    ensemble_size: int
    trials: int
    seed: int
    directory: pathlib.Path
    results: pathlib.Path
    strategy: Any = None

    @property
    def hypermodel(self) -> Hypermodel:
        return networks.hypermodel_of(self.network, self.data, self.schedule)

    def key(self, **what: Any) -> Run:
        """What says which run it is, in files of results: `what` was run, with which seed and budget."""
        return {
            "dataset": self.data.name,
            "network": self.network,
            **what,
            "seed": self.seed,
            "train_rows": len(self.data.train[1]),
            "held_out_rows": len(self.data.tuning[1]) + len(self.data.validation[1]),
            "ensemble_size": self.ensemble_size,
            "trials": self.trials,
            "epochs": self.schedule.epochs,
        }


def trained(method: str, cell: Cell) -> keras.Model:
    """The model of a method, trained. What is on disk of its search is not trained again."""
    keras.utils.set_random_seed(cell.seed)
    return METHODS[method](cell)


def network_epochs(method: str, cell: Cell) -> int:
    """What a method costs: how often a network sees the training rows, with the search that it needs.

    Each member of an ensemble counts, whether it shares weights or not; tuning steps, one in three, come on top.
    """
    size = cell.ensemble_size
    after_the_search = {"single": 1, "self-tuning": 1, "fixed-initialization": 0, "hyper-deep": size**2}
    return (cell.trials + after_the_search.get(method, size)) * cell.schedule.epochs


def best_settings(cell: Cell) -> dict[str, Any]:
    """The best setting that the search found, by validation rows: all that do not search themselves begin with it.

    It is kept beside the results, so that who has these needs no search.
    """
    known = experiment.find(cell.results / SETTINGS, cell.key())
    if known is None:
        values = searched(cell, initializations=0).select_hyperparameters()[0].values
        known = {**cell.key(), "values": dict(values)}
        experiment.append(cell.results / SETTINGS, [known])
    return known["values"]


def searched(cell: Cell, **settings: Any) -> khe.HyperDeepEnsembleBuilder:
    """The one search that single, deep, hyper-deep and batch ensembles of a cell and seed have in common."""
    return experiment.search(
        cell.hypermodel,
        cell.data.one_hot,
        cell.schedule,
        ensemble_size=cell.ensemble_size,
        max_trials=cell.trials,
        directory=cell.directory,
        seed=cell.seed,
        candidates_at_once=AT_ONCE if cell.network in networks.SMALL and cell.strategy is None else 1,
        distribution_strategy=cell.strategy,
        **settings,
    )


def measure_sizes(cell: Cell, largest: int) -> None:
    """Test NLL of ensembles of 1, 2, ... candidates, deep ones and hyper-deep ones, with and without a temperature.

    Trains as many initializations of the best sets of hyperparameters as the largest deep ensemble has members.
    """
    if experiment.find(cell.results / SIZES, cell.key(largest=largest)):
        return
    builder = searched(cell, initializations=largest)
    found = []
    for size in range(1, largest + 1):
        built = {"deep": builder.build_deep_ensemble(size), "hyper-deep": builder.build_ensemble(size)}
        for method, ensemble in built.items():
            scores = experiment.measured(ensemble, cell.data)
            each = {name: scores[name] for name in ("nll", "calibrated_nll")}
            found.append({**cell.key(method=method, size=size, largest=largest), **each})
    experiment.append(cell.results / SIZES, found)


def hyper_batch(cell: Cell, compiled: dict[str, Any] | None = None, **options: Any) -> khe.HyperBatchEnsemble:
    """A hyper-batch ensemble; `compiled` and `options` are what differs from the package's defaults.

    Its members begin around the best setting of the search, with which the batch ensemble stays.
    """
    return _shared(cell, cell.ensemble_size, compiled, **{"initial_values": best_settings(cell), **options})


def _fixed_initialization(cell: Cell) -> keras.Model:
    return searched(cell, same_initialization=True, project_name="fixed_initialization").build_ensemble()


def _batch(cell: Cell, compiled: dict[str, Any] | None = None) -> keras.Model:
    return _shared(cell, cell.ensemble_size, compiled, fixed=best_settings(cell), sharing="batch")


def _self_tuning(cell: Cell) -> keras.Model:
    """One member without rank-1 factors, which begins where hyper-batch does: a self-tuning network."""
    without: dict[str, Any] = {
        "tie_fast_weights": True,
        "fast_weights_trainable": False,
        "fast_weight_initializer": "ones",
    }
    return _shared(cell, 1, initial_values=best_settings(cell), **without)


def _shared(
    cell: Cell, ensemble_size: int, compiled: dict[str, Any] | None = None, **options: Any
) -> khe.HyperBatchEnsemble:
    """One network for all members. A search ends before the scope of a strategy begins: it clears Keras' session."""
    keras.utils.set_random_seed(cell.seed)
    with cell.strategy.scope() if cell.strategy else contextlib.nullcontext():
        ensemble = khe.HyperBatchEnsemble.from_hypermodel(
            cell.hypermodel, ensemble_size=ensemble_size, seed=cell.seed, **options
        )
        if compiled:
            optimizer = cell.schedule.optimizer(len(cell.data.train[1]))
            metrics = [keras.metrics.CategoricalCrossentropy(name="nll")]
            ensemble.compile(optimizer, ensemble.loss, metrics=metrics, **compiled)
    experiment.train(ensemble, cell.data.one_hot, cell.schedule)
    return ensemble


METHODS: dict[str, Callable[[Cell], keras.Model]] = {
    "single": lambda cell: searched(cell).build_deep_ensemble(1),
    "fixed-initialization": _fixed_initialization,
    "deep": lambda cell: searched(cell).build_deep_ensemble(),
    "hyper-deep": lambda cell: searched(cell).build_ensemble(),
    "batch": lambda cell: _batch(cell, {"member_rows": "same", "tune_temperature": False}),
    "batch-distinct-rows": _batch,
    "self-tuning": _self_tuning,
    "hyper-batch": hyper_batch,
}
