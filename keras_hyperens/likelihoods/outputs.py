"""Structures of outputs: settings and likelihoods of each output."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_hyperens import masks
from keras_hyperens.likelihoods.likelihood import Likelihood
from keras_hyperens.likelihoods.value import Value
from keras_hyperens.types import LikelihoodTree
from keras_hyperens.types import LossTree
from keras_hyperens.types import Tensor
from keras_hyperens.types import TensorTree


def per_output(setting: Any, outputs: TensorTree, output_names: Sequence[str] | None) -> list[Any]:
    """Returns the setting of each output, in the order of `keras.tree.flatten(outputs)`.

    A dictionary is by name, a list by position, and any other value applies to every output.
    """
    if not keras.tree.is_nested(outputs):
        setting = next(iter(setting.values())) if isinstance(setting, dict) else setting
        return [setting]
    names = dict(enumerate(output_names or ()))
    places = [path[0] for path, _ in keras.tree.flatten_with_path(outputs)]
    if isinstance(setting, dict):
        return [setting.get(place, setting.get(names.get(place))) for place in places]
    return (
        [setting[number] for number in range(len(places))]
        if isinstance(setting, list | tuple)
        else [setting for _ in places]
    )


def parts_of_outputs(part: TensorTree, outputs: TensorTree, output_names: Sequence[str] | None) -> list[Any]:
    """Returns, for example, the labels of each output, in the order of `keras.tree.flatten(outputs)`.

    Keras accepts a dictionary also if outputs are a list; names are then in a different order than outputs.
    """
    flat = keras.tree.flatten(part)
    number = len(keras.tree.flatten(outputs))
    if not isinstance(part, dict) or number != len(flat) or number != len(part) or number == 1:
        return flat
    found = per_output(part, outputs, output_names)
    return flat if any(each is None for each in found) else found


def of_each_output(likelihoods: LikelihoodTree, outputs: TensorTree, output_names: list[str] | None) -> list[Any]:
    """As `per_output`; unspecified outputs are values."""
    return [each or Value() for each in per_output(likelihoods, outputs, output_names)]


def like_outputs(likelihoods: LikelihoodTree, outputs: TensorTree, output_names: list[str] | None) -> LikelihoodTree:
    """Returns the likelihood of each output, in the structure of `outputs`."""
    return keras.tree.pack_sequence_as(outputs, of_each_output(likelihoods, outputs, output_names))


def ignored_classes(loss: LossTree) -> Any:
    """Returns the `ignore_class` of each loss of a compiled structure, or `None`."""
    if isinstance(loss, dict):
        return {name: ignored_classes(each) for name, each in loss.items()}
    if isinstance(loss, list | tuple):
        return [ignored_classes(each) for each in loss]
    if hasattr(loss, "evaluation_loss"):  # depends on hyperparameters
        return ignored_classes(loss.evaluation_loss)
    return getattr(loss, "ignore_class", None)


def predictions(raw: TensorTree, likelihoods: LikelihoodTree) -> TensorTree:
    """Applies `Likelihood.predict` to each raw output."""
    return masks.mapped(lambda output, likelihood: likelihood.predict(output), raw, likelihoods)


def raw_of(predictions: TensorTree, likelihoods: LikelihoodTree) -> TensorTree:
    """Applies `Likelihood.to_raw` to each prediction."""
    return masks.mapped(lambda output, likelihood: likelihood.to_raw(output), predictions, likelihoods)


def combined_raw(members: TensorTree, likelihoods: LikelihoodTree) -> TensorTree:
    """Applies `Likelihood.combine_raw` to each output of all members, with the intersection of their masks."""

    def one(output: Tensor, likelihood: Likelihood) -> Tensor:
        return likelihood.combine_raw(output)

    return masks.mapped(one, members, likelihoods, mask=masks.of_all_members)
