"""Conversion of a model or hypermodel to the parts of a hyper-batch ensemble."""

from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import replace
from typing import Any

import keras

from keras_hyperens.conversion.compiled import Place
from keras_hyperens.conversion.compiled import compile_arguments
from keras_hyperens.conversion.compiled import loss_numbers
from keras_hyperens.conversion.inlining import Inlining
from keras_hyperens.conversion.network import Chosen
from keras_hyperens.conversion.network import Converter
from keras_hyperens.conversion.roles import Roles
from keras_hyperens.conversion.summary import Record
from keras_hyperens.hyperparameters import Hyperparameter
from keras_hyperens.hyperparameters import HyperparameterSpace
from keras_hyperens.hyperparameters.driven import Setting
from keras_hyperens.layers.weights import check_sharing
from keras_hyperens.layers.weights import options_of


@dataclass(frozen=True)
class Conversion:
    """Result of the conversion of a model."""

    model: keras.Model
    network: keras.Model
    space: HyperparameterSpace
    records: list[Record]
    fixed: dict[str, str]  # hyperparameters common to all members, with the reason
    compile_arguments: dict[str, Any] | None  # `None` if the model was not compiled


@dataclass(frozen=True)
class Sharing:
    """Weights that members share; see `HyperBatchEnsemble.from_model`."""

    ensemble_size: int
    include: Iterable[Chosen] | None
    exclude: Iterable[Chosen]
    member_normalization: bool | None
    options: dict[str, Any]

    def __post_init__(self) -> None:
        check_sharing(self.options.get("sharing", "hyper"))
        known, unknown = options_of(self.options)
        if unknown:
            raise TypeError(
                "Options of layers must be member options of `HyperBatchLayer`, for example `tie_fast_weights`. "
                f"Received: {', '.join(f'{name}={value!r}' for name, value in unknown.items())}"
            )
        if known.get("same_initialization"):
            raise ValueError(
                "All members of a converted model start from its weights: remove `same_initialization`. "
                "Received: same_initialization=True"
            )

    def converter(self, space: HyperparameterSpace, settings_of: Any) -> Converter:
        """Returns the converter of a model with these hyperparameters."""
        apart = self.options.get("sharing") == "independent"
        members = {"ensemble_size": self.ensemble_size, "space": space}
        by_member = apart if self.member_normalization is None else self.member_normalization
        return Converter(members, self.options, settings_of, self.include, self.exclude, by_member)


def convert_model(model: keras.Model, given: Mapping[str, Hyperparameter], sharing: Sharing) -> Conversion:
    """Converts a model, with hyperparameters by role."""
    roles = Roles(given)
    compiled = isinstance(model, keras.Model) and model.compiled
    numbers = loss_numbers(model) if compiled else {}
    driven: dict[Place, Setting] = {
        place: roles.names[place[0]] for place in numbers if place[0] == "label_smoothing" and place[0] in roles.names
    }
    if "label_smoothing" in roles.names and not driven:
        raise ValueError(
            "`label_smoothing` needs a model compiled with a cross-entropy; or remove it, and compile the ensemble "
            "with `khe.losses.LabelSmoothing`. "
            f"Received: loss={getattr(model, 'loss', None)!r}"
        )
    converter = sharing.converter(roles.space, roles.settings_of)
    inlining = Inlining(converter.exclude)
    network = converter.convert(inlining.graph_of(model), inlining.reasons)
    arguments = compile_arguments(model, driven, numbers) if compiled else None
    return Conversion(model, network, roles.space, converter.records, {}, arguments)


def convert_hypermodel(
    hypermodel: Any,
    roles: Mapping[str, Hyperparameter] | None,
    space: HyperparameterSpace | None,
    fixed: dict[str, Any] | None,
    initial_values: dict[str, Any],
    sharing: Sharing,
) -> Conversion:
    """Converts a hypermodel, with the hyperparameters that can vary within one network, or with the given roles."""
    from keras_hyperens.conversion.probing import Probe

    # Members of a batch ensemble differ only in their weights.
    needs_probing = not roles and sharing.options.get("sharing") != "batch"
    inlining = Inlining(list(sharing.exclude))
    probe = Probe(hypermodel, fixed, space if needs_probing else HyperparameterSpace(), initial_values, inlining)
    if not needs_probing:
        return replace(convert_model(probe.model, roles or {}, sharing), fixed=probe.fixed)
    if not len(probe.space):
        reasons = "; ".join(f"{name}: {why}" for name, why in probe.fixed.items()) or "it has no hyperparameter"
        raise ValueError(
            "No hyperparameter of the hypermodel can vary between members within one network. Select what varies with "
            '`roles`, for example `roles={"l2": Hyperparameter("l2", 1e-6, 1e-2, "log")}`. '
            f"Received: {reasons}"
        )
    converter = sharing.converter(probe.space, probe.settings_of)
    network = converter.convert(probe.graph, inlining.reasons)
    arguments = None
    if probe.model.compiled:
        arguments = compile_arguments(probe.model, probe.of_loss(), loss_numbers(probe.model))
    return Conversion(probe.model, network, probe.space, converter.records, probe.fixed, arguments)
