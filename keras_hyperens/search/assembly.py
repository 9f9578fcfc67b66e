"""Creation of Keras models from trained candidates, and of an ensemble from these."""

import contextlib
import itertools
from collections.abc import Sequence
from typing import Any

import keras
import keras_tuner

from keras_hyperens import files
from keras_hyperens.conversion.compiled import compile_arguments_of
from keras_hyperens.conversion.compiled import fresh_metrics
from keras_hyperens.models import HyperDeepEnsemble
from keras_hyperens.search.candidate import Candidate
from keras_hyperens.search.pool import Pool
from keras_hyperens.search.settings import Settings


def trained_model(
    hypermodel: keras_tuner.HyperModel, values: dict[str, Any], weights: Any, build_config: Any, strategy: Any = None
) -> keras.Model:
    """Returns the model of the hypermodel at these hyperparameter values, with the weights of a file.

    Raises:
        files.Damaged: If the file cannot be read.
    """
    hyperparameters = keras_tuner.HyperParameters()
    hyperparameters.values = dict(values)
    with strategy.scope() if strategy is not None else contextlib.nullcontext():
        model = hypermodel.build(hyperparameters)
        if not model.built:
            model.build_from_config(build_config)
            model.built = bool(model.weights)  # Keras does not set it when weights are loaded
        if model.optimizer is not None and not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)  # the file contains its variables, too
        try:
            model.load_weights(weights)
        except OSError as error:
            raise files.Damaged(weights, error) from error
    return model


def networks_of(
    hypermodel: keras_tuner.HyperModel, pool: Pool, candidate: Candidate, strategy: Any = None
) -> list[keras.Model]:
    """Returns the trained networks of a candidate: one, or one per fold, whose mean it is."""
    return [
        trained_model(hypermodel, candidate.values, file, candidate.build_config, strategy)
        for file in pool.weights_files(candidate)
    ]


def assembled(
    settings: Settings, pool: Pool, members: Sequence[Candidate], weights: Sequence[float], combination: Any
) -> HyperDeepEnsemble:
    """Returns the ensemble of the networks of these candidates, compiled like each of them.

    Args:
        settings: Settings of the builder.
        pool: Pool of the candidates.
        members: The candidates.
        weights, combination: As in `HyperDeepEnsemble`.
    """
    networks = [networks_of(settings.hypermodel, pool, member, settings.distribution_strategy) for member in members]
    models = list(itertools.chain.from_iterable(networks))
    for number, model in enumerate(models):
        model.name = f"member_{number}"  # all models of a hypermodel have the same name
    ensemble = HyperDeepEnsemble(
        models,
        member_weights=[weight / len(own) for weight, own in zip(weights, networks, strict=True) for _ in own],
        combination=combination,
        output_activation=settings.output_activation,
        member_hyperparameters=[member.values for member, own in zip(members, networks, strict=True) for _ in own],
    )
    _compile_like(ensemble, models[0])
    return ensemble


def _compile_like(ensemble: HyperDeepEnsemble, model: keras.Model) -> None:
    """Compiles an ensemble with the loss and metrics of a member; metrics receive probabilities instead of logits."""
    arguments = compile_arguments_of(model)
    if arguments:
        metrics = {name: fresh_metrics(arguments.get(name)) for name in ("metrics", "weighted_metrics")}
        ensemble.compile(loss=model.loss, loss_weights=arguments.get("loss_weights"), **metrics)
