"""Detection of the likelihood of an output: by its loss, its last activation, or an explicit name."""

from typing import Any

import keras

from keras_hyperens.likelihoods.gaussian import Gaussian
from keras_hyperens.likelihoods.likelihood import Likelihood
from keras_hyperens.likelihoods.likelihood import names_of_loss
from keras_hyperens.likelihoods.outputs import per_output
from keras_hyperens.likelihoods.probabilities import Bernoulli
from keras_hyperens.likelihoods.probabilities import Categorical
from keras_hyperens.likelihoods.quantiles import Quantiles
from keras_hyperens.likelihoods.value import Value
from keras_hyperens.types import LikelihoodTree
from keras_hyperens.types import Loss
from keras_hyperens.types import LossTree
from keras_hyperens.types import Tensor
from keras_hyperens.types import TensorTree

KNOWN: tuple[Likelihood, ...] = (
    Categorical(from_logits=True),
    Bernoulli(from_logits=True),
    Categorical(),
    Bernoulli(),
    Gaussian(),
    Quantiles(),
    Value(),
)
CLASSES: tuple[type[Likelihood], ...] = tuple(dict.fromkeys(type(likelihood) for likelihood in KNOWN))
BY_NAME = {likelihood.name: likelihood for likelihood in KNOWN}
ACTIVATIONS = tuple(BY_NAME)
SHAPE_ONLY = ("Reshape", "Flatten", "Identity")  # layers that do not change values


def named(names: Any) -> LikelihoodTree:
    """Returns the likelihood of each name in a structure; `"auto"` is unspecified, which means values."""
    return keras.tree.map_structure(lambda name: Value() if name == "auto" else BY_NAME[name], names)


def names_of(likelihoods: LikelihoodTree) -> Any:
    """Returns the name of each likelihood in a structure, in the format of `named` and of files."""
    return keras.tree.map_structure(lambda likelihood: likelihood.name, likelihoods)


def check_output_activation(activation: Any, num_outputs: int | None = None) -> None:
    """Raises a `ValueError` unless every activation is supported, and lists have one entry per output."""
    if isinstance(activation, list | tuple) and num_outputs not in (None, len(activation)):
        raise ValueError(
            f"`output_activation` must have one entry for each of {num_outputs} outputs. "
            f"Received: output_activation={activation!r}"
        )
    for each in keras.tree.flatten(activation):
        if each not in ("auto", *ACTIVATIONS) or (each == "auto" and activation != "auto"):
            raise ValueError(
                f'`output_activation` must be "auto", or for each output one of {ACTIVATIONS}. '
                f"Received: output_activation={activation!r}"
            )


def of_loss(loss: Loss) -> Likelihood | None:
    """Returns the likelihood that a Keras loss (an object, a name or a function) implies, or `None` if unknown."""
    if hasattr(loss, "evaluation_loss"):  # depends on hyperparameters
        return of_loss(loss.evaluation_loss)
    for name in names_of_loss(loss):
        for likelihood in CLASSES:
            if name in likelihood.losses:
                return likelihood.of_loss(loss)
    return None


def of_losses(loss: LossTree) -> LikelihoodTree:
    """Applies `of_loss` to each loss of a compiled structure: one, a list or a dictionary; values if unknown."""
    if isinstance(loss, dict):
        return {name: of_losses(each) for name, each in loss.items()}
    return [of_losses(each) for each in loss] if isinstance(loss, list | tuple) else of_loss(loss) or Value()


def of_activation(name: str) -> Likelihood | None:
    """Returns the likelihood that the name of a last activation implies."""
    return next((likelihood() for likelihood in CLASSES if likelihood.activation == name), None)


def of_model(model: keras.Model) -> LikelihoodTree:
    """Returns the likelihoods of a model's outputs by its compiled loss, for `of_each_output`."""
    return of_outputs(model, getattr(model, "loss", None))


def of_outputs(model: keras.Model, loss: LossTree) -> LikelihoodTree:
    """Returns the likelihoods of a model's outputs under a loss, for `of_each_output`.

    Args:
        model: A model; a subclassed model with unknown layers has the likelihoods that the loss implies.
        loss: Loss as in `keras.Model.compile`. Without a loss, outputs are values.
    """
    outputs = symbolic_outputs(model)
    if loss is None or outputs is None:
        return of_losses(loss)
    if isinstance(loss, list | tuple) and not keras.tree.is_nested(outputs):
        loss = loss[0]
    losses = per_output(loss, outputs, getattr(model, "output_names", None))
    flat = [of_output(*pair) for pair in zip(losses, keras.tree.flatten(outputs), strict=True)]
    return keras.tree.pack_sequence_as(outputs, flat)


def of_output(loss: Loss, output: Tensor) -> Likelihood:
    """Returns the likelihood of one symbolic output under its loss."""
    found = of_loss(loss)
    if found is None and loss is not None:
        found = of_activation(last_activation(output))
    return Value() if found is None else found


def symbolic_outputs(model: keras.Model) -> TensorTree:
    """Returns the symbolic outputs of a model in their structure, or `None`."""
    if not getattr(model, "outputs", None):
        return None
    return model.outputs[0] if isinstance(model, keras.Sequential) else model.output


def last_activation(output: Tensor) -> str:
    """Returns the name of the last activation of a symbolic output, or an empty string if unknown."""
    operation, _, place = getattr(output, "_keras_history", (None, 0, 0))
    if operation is None:
        return ""
    if isinstance(operation, keras.Model):
        return last_activation(operation.outputs[place]) if getattr(operation, "outputs", None) else ""
    if type(operation).__name__ in SHAPE_ONLY:
        return last_activation(operation.input)
    layer = getattr(operation, "layer", operation)  # for wrappers
    activation = getattr(layer, "activation", None)
    return getattr(activation, "__name__", type(layer).__name__.lower())
