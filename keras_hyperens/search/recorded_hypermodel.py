"""Hypermodel of a recorder, and the metrics of its training runs."""

from collections.abc import Callable
from typing import Any

import keras
import keras_tuner
import numpy as np

from keras_hyperens.search.checkpoints import monitors_ensemble
from keras_hyperens.search.training_rows import Share


class RecordedHyperModel(keras_tuner.HyperModel):
    """Hypermodel with a seed, and access to the model of the current trial."""

    def __init__(self, hypermodel: keras_tuner.HyperModel, objective: str) -> None:
        super().__init__(name=hypermodel.name)
        self.objective = objective
        self.inner = hypermodel
        self.model: keras.Model | None = None
        self.next_seed: int | None = None
        self.share: Share | None = None
        self.epochs: int | None = None
        self.offers: Callable[[keras.Model], keras.callbacks.Callback] | None = None

    def declare_hyperparameters(self, hp: keras_tuner.HyperParameters) -> None:
        self.inner.declare_hyperparameters(hp)

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        if self.next_seed is not None:  # here, because KerasTuner clears the session just before
            keras.utils.set_random_seed(self.next_seed)
            self.next_seed = (self.next_seed + 1) % 2**31  # for a second execution
        return self.inner.build(hp)

    def fit(self, hp: keras_tuner.HyperParameters, model: keras.Model, *args: Any, **kwargs: Any) -> Any:
        self.model = model
        if self.share is not None:
            args, kwargs = self.share.of_arguments(args, kwargs)
        if self.offers is not None:
            callbacks = [*(kwargs.get("callbacks") or []), self.offers(model)]  # after callbacks that change weights
            kwargs["callbacks"] = sorted(callbacks, key=monitors_ensemble)  # which read the logs of `Offers`
        if self.epochs is None:
            return self.inner.fit(hp, model, *args, **kwargs)
        history = self.inner.fit(hp, model, *args, **{**kwargs, "epochs": self.epochs})
        return {self.objective: best_metrics(history, keras_tuner.Objective("loss", "min"))[0]["loss"]}


def best_metrics(results: Any, objective: Any) -> tuple[dict[str, float], int]:
    """Returns metrics at the best epoch, and that epoch; means for several executions."""
    if isinstance(results, list):
        parts = [best_metrics(each, objective) for each in results]
        names = parts[0][0]
        return {name: float(np.mean([m[name] for m, _ in parts])) for name in names}, int(parts[0][1])
    if isinstance(results, keras.callbacks.History):
        epochs = [dict(zip(results.history, values)) for values in zip(*results.history.values())]
        scores = np.array([objective.get_value(epoch) for epoch in epochs], "float64")
        scores = -scores if objective.direction == "max" else scores
        best = int(np.argmin(np.where(np.isnan(scores), np.inf, scores)))
        value = float(objective.get_value(epochs[best]))
        number = (
            results.epoch[best] if getattr(results, "epoch", None) else best
        )  # with `initial_epoch`, as in Hyperband
        return {name: float(epochs[best][name]) for name in epochs[best]} | {objective.name: value}, int(number)
    if isinstance(results, dict):
        return {name: float(value) for name, value in results.items()}, 0
    return {objective.name: float(results)}, 0
