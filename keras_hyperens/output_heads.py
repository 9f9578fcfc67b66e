"""The head of each output of a model: by its loss, and where the loss says nothing, by its last activation."""

from typing import Any

import keras

from keras_hyperens import heads

OF_ACTIVATIONS = {"softmax": "categorical", "sigmoid": "bernoulli"}
SHAPE_ONLY = ("Reshape", "Flatten", "Identity")  # layers that leave values as they are
OF_VALUES = frozenset(  # losses of plain values, whatever the last activation is
    """MeanSquaredError MeanAbsoluteError MeanAbsolutePercentageError MeanSquaredLogarithmicError Huber LogCosh Logcosh
    Poisson CosineSimilarity Hinge SquaredHinge CategoricalHinge mse mae mape msle MSE MAE MAPE MSLE""".split()
)


def heads_of_model(model: keras.Model) -> Any:
    """The heads of a model's outputs by the loss it was compiled with; for `heads.per_output`."""
    return heads_of_outputs(model, getattr(model, "loss", None))


def heads_of_outputs(model: keras.Model, loss: Any) -> Any:
    """The heads of a model's outputs under a loss; for `heads.per_output`.

    Args:
        model: One whose layers are not known (a subclassed one) has the heads that the loss implies.
        loss: What `keras.Model.compile` takes. Without a loss outputs are raw: their head is `None`.
    """
    outputs = symbolic_outputs(model)
    if loss is None or outputs is None:
        return heads.heads_of_losses(loss)
    if isinstance(loss, list | tuple) and not keras.tree.is_nested(outputs):
        loss = loss[0]
    losses = heads.per_output(loss, outputs, getattr(model, "output_names", None))
    flat = [head_of_output(*pair) for pair in zip(losses, keras.tree.flatten(outputs), strict=True)]
    return keras.tree.pack_sequence_as(outputs, flat)


def head_of_output(loss: Any, output: Any) -> heads.Head:
    """The head of one symbolic output under its loss."""
    head = heads.head_of_loss(loss)
    if head is not None or loss is None or is_of_values(loss):
        return head
    return OF_ACTIVATIONS.get(last_activation(output))


def is_of_values(loss: Any) -> bool:
    """Whether a loss is one of Keras' for plain values."""
    return not OF_VALUES.isdisjoint(heads.names_of_loss(getattr(loss, "evaluation_loss", loss)))


def kind_of(head: heads.Head) -> str:
    """What predictions of this head are, whatever the raw output was."""
    if head in heads.CATEGORICAL:
        return "probabilities of classes"
    return {None: "values", "gaussian": "Gaussians"}.get(head, "probabilities of yes-or-no questions")


def symbolic_outputs(model: keras.Model) -> Any:
    """The symbolic outputs of a model in their structure; `None` if it has none."""
    if not getattr(model, "outputs", None):
        return None
    return model.outputs[0] if isinstance(model, keras.Sequential) else model.output


def last_activation(output: Any) -> str:
    """The name of the activation that a symbolic output comes from; empty if it is not known."""
    operation, _, place = getattr(output, "_keras_history", (None, 0, 0))
    if operation is None:
        return ""
    if isinstance(operation, keras.Model):
        return last_activation(operation.outputs[place]) if getattr(operation, "outputs", None) else ""
    if type(operation).__name__ in SHAPE_ONLY:
        return last_activation(operation.input)
    layer = getattr(operation, "layer", operation)  # of a wrapper
    activation = getattr(layer, "activation", None)
    return getattr(activation, "__name__", type(layer).__name__.lower())
