"""The seven methods of the comparison, all from one hypermodel and by the package's public interface alone."""

import contextlib
from collections.abc import Callable
from typing import Any

import keras

import keras_hyperens as khe
from benchmarks import hyper_deep
from benchmarks import methods
from benchmarks import runs
from benchmarks.paper import networks
from benchmarks.paper.cells import Cell

AT_ONCE = 8  # candidates of a search in one graph
SETTINGS = "settings.jsonl"  # the best ones of each search


def trained(method: str, cell: Cell) -> keras.Model:
    """The model of a method, trained. What is on disk of its search is not trained again."""
    keras.utils.set_random_seed(cell.seed)
    return METHODS[method](cell)


def network_epochs(method: str, cell: Cell) -> int:
    """What a method costs: how often a network sees the training rows, with the search that it needs.

    Each member of an ensemble counts, whether it shares weights or not; tuning steps, one in three, come on top.
    """
    size = cell.ensemble_size
    trainings = {
        "single": cell.trials + 1,
        "fixed-initialization": cell.trials,
        "deep": cell.trials + size,
        "hyper-deep": cell.trials + size**2,
        "batch": cell.trials + size,
        "self-tuning": cell.trials + 1,
        "hyper-batch": cell.trials + size,
    }
    return trainings[method] * cell.schedule.epochs


def best_settings(cell: Cell) -> dict[str, Any]:
    """The best setting that the search found, by validation rows: all that do not search themselves begin with it.

    It is kept beside the results, so that who has these needs no search.
    """
    known = runs.find(cell.results / SETTINGS, cell.key())
    if known is None:
        values = searched(cell, initializations=0).select_hyperparameters()[0].values
        known = {**cell.key(), "values": dict(values)}
        runs.append(cell.results / SETTINGS, [known])
    return known["values"]


def searched(cell: Cell, **settings: Any) -> khe.HyperDeepEnsembleBuilder:
    """The one search that single, deep, hyper-deep and batch ensembles of a cell and seed have in common."""
    return hyper_deep.searched(
        cell.one_hot,
        cell.schedule,
        cell.ensemble_size,
        cell.trials,
        cell.directory,
        build_model=cell.hypermodel,
        seed=cell.seed,
        candidates_at_once=AT_ONCE if cell.network in networks.SMALL and cell.strategy is None else 1,
        distribution_strategy=cell.strategy,
        **settings,
    )


def hyper_batch(cell: Cell, compiled: dict[str, Any] | None = None, **options: Any) -> khe.HyperBatchEnsemble:
    """A hyper-batch ensemble; `compiled` and `options` are what differs from the package's defaults.

    Its members begin around the best setting of the search, with which the batch ensemble stays.
    """
    return _shared(cell, cell.ensemble_size, compiled, **{"initial_values": best_settings(cell), **options})


def _single(cell: Cell) -> keras.Model:
    return searched(cell).build_deep_ensemble(1)


def _fixed_initialization(cell: Cell) -> keras.Model:
    return searched(cell, same_initialization=True, project_name="fixed_initialization").build_ensemble()


def _deep(cell: Cell) -> keras.Model:
    return searched(cell).build_deep_ensemble()


def _hyper_deep(cell: Cell) -> keras.Model:
    return searched(cell).build_ensemble()


def _batch(cell: Cell) -> keras.Model:
    return _shared(cell, cell.ensemble_size, fixed=best_settings(cell), sharing="batch")


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
    methods.train(ensemble, cell.one_hot, [], schedule=cell.schedule, monitor="val_nll")
    return ensemble


METHODS: dict[str, Callable[[Cell], keras.Model]] = {
    "single": _single,
    "fixed-initialization": _fixed_initialization,
    "deep": _deep,
    "hyper-deep": _hyper_deep,
    "batch": _batch,
    "self-tuning": _self_tuning,
    "hyper-batch": hyper_batch,
}
