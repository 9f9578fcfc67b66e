"""A hyper-batch ensemble from an ordinary Keras model, or from a hypermodel."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import keras

from keras_hyperens.conversion import Conversion
from keras_hyperens.conversion import Record
from keras_hyperens.conversion import Sharing
from keras_hyperens.conversion import convert_hypermodel
from keras_hyperens.conversion import convert_model
from keras_hyperens.conversion import table
from keras_hyperens.hyperparameters import Hyperparameter
from keras_hyperens.hyperparameters import HyperparameterSpace
from keras_hyperens.likelihoods import Combination
from keras_hyperens.models.equality import check_equality
from keras_hyperens.models.export import input_specs
from keras_hyperens.models.network import may_mix_rows

FIXED_WIDTH = 1e-2  # of the initial intervals of members whose hyperparameters are not tuned


class Convertible:
    """How a `HyperBatchEnsemble` is made of a model that knows nothing of ensembles. Abstract."""

    _records: tuple[Record, ...] | None = None
    _fixed: dict[str, str]

    @classmethod
    def from_model(
        cls,
        model: keras.Model,
        *,
        roles: Mapping[str, Hyperparameter] | None = None,
        ensemble_size: int = 4,
        sharing: str = "hyper",
        include: Iterable[str | type[keras.layers.Layer]] | None = None,
        exclude: Iterable[str | type[keras.layers.Layer]] = (),
        member_normalization: bool | None = None,
        fast_weight_initializer: Any = "ones",
        combination: Combination = "mean",
        output_activation: Any = "auto",
        initial_width: float | None = None,
        initial_values: Mapping[str, Any] | None = None,
        response: str = "centered",
        seed: int | None = None,
        **layer_options: Any,
    ) -> Any:
        """An ensemble from an ordinary Keras model, with the model's weights.

        By default every member first predicts what the model predicts: the rank-1 factors are one, `delta_kernel` is
        zero. They come apart in training, because they differ in hyperparameters. If the model is compiled, so is the
        ensemble, with a new optimizer of the same kind.

        Args:
            model: Sequential or Functional, also nested, with shared layers or branches, or subclassed and called on a
                batch; its own layers are looked into. It is not changed, but layers of your own that stay shared are
                the model's own objects, and are trained in both.
            roles: Role to `Hyperparameter`: what shall vary between members. Roles are the penalties `"l2"`,
                `"l1"` (kernels and biases), `"kernel_l2"`, `"bias_l2"`, `"kernel_l1"`, `"bias_l1"`, then `"dropout"`
                (the rate of every dropout that the model has), `"noise"` and `"label_smoothing"`. What has no role
                stays as it is in the model.
            ensemble_size: M, the number of members.
            sharing: `"hyper"` (default), `"batch"`: a batch ensemble; `"independent"`: members apart in one graph,
                a deep ensemble (whose members begin as the model, all of them), or with roles a hyperparameter ensemble
                whose members keep the values that they begin with.
            include, exclude: Which layers become layers of members: names, with `*` for any letters, or classes.
                Default: all that can; the others are shared.
            member_normalization: Whether batch and layer normalization have statistics and parameters of each member.
                Default: where members share nothing else.
            fast_weight_initializer: Of the rank-1 factors; for example `keras.initializers.RandomNormal(1, 0.1)`
                makes members differ from the start, at the price of the model's predictions. Default ones: with a
                model worth keeping they were better (`python -m benchmarks.fine_tuning`).
            combination, output_activation, initial_width, initial_values, response, seed: As in `HyperBatchEnsemble`;
                a loss of one's own that takes logits needs `output_activation="softmax"` or `"sigmoid"`.
            **layer_options: More options of `HyperBatchLayer`, for all layers: `tie_fast_weights`,
                `fast_weights_trainable`, `shared_embedding`, and so on. With `ensemble_size=1`,
                `tie_fast_weights=True` and `fast_weights_trainable=False` the result is a self-tuning network.

        Raises:
            TypeError: If `model` is not a Keras model.
            ValueError: If it has no weights or its `call` cannot be followed, a role is unknown, or no layer can be
                converted.

        Example:
        >>> import keras
        >>> import numpy as np
        >>> import keras_hyperens as khe
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(2)])
        >>> roles = {"l2": khe.Hyperparameter("l2", 1e-6, 1e-2, "log")}
        >>> ensemble = khe.HyperBatchEnsemble.from_model(model, roles=roles)
        >>> ensemble.predict(np.ones((5, 3)), verbose=0).shape
        (5, 2)

        References:
            - MacKay et al., [Self-Tuning Networks](https://arxiv.org/abs/1903.03088)
            - Wen et al., [BatchEnsemble](https://arxiv.org/abs/2002.06715)
        """
        options = {"sharing": sharing, "fast_weight_initializer": fast_weight_initializer, **layer_options}
        how = Sharing(ensemble_size, include, exclude, member_normalization, options)
        conversion = convert_model(model, roles or {}, how)
        of_ensemble = {
            "combination": combination,
            "output_activation": output_activation,
            "response": response,
            "seed": seed,
        }
        return cls._converted(conversion, how, initial_width, initial_values or {}, **of_ensemble)

    @classmethod
    def from_hypermodel(
        cls,
        hypermodel: Any,
        *,
        ensemble_size: int = 4,
        roles: Mapping[str, Hyperparameter] | None = None,
        space: HyperparameterSpace | None = None,
        fixed: dict[str, Any] | None = None,
        sharing: str = "hyper",
        include: Iterable[str | type[keras.layers.Layer]] | None = None,
        exclude: Iterable[str | type[keras.layers.Layer]] = (),
        member_normalization: bool | None = None,
        combination: Combination = "mean",
        output_activation: Any = "auto",
        initial_width: float | None = None,
        initial_values: Mapping[str, Any] | None = None,
        response: str = "centered",
        seed: int | None = None,
        **layer_options: Any,
    ) -> Any:
        """An ensemble from the function `build_model(hp)` that KerasTuner and `HyperDeepEnsembleBuilder` take.

        The hypermodel is built at several values of each `Float` hyperparameter, and what changes in the model says
        what it drives. Strengths of penalties, rates of dropout and noise, label smoothing and weights of outputs vary
        between members; what changes anything else (units, depth, the learning rate) is the same for all of them.
        `conversion_summary()` lists both. Loss, metrics and optimizer are the compiled model's.

        Args:
            hypermodel: A function `build_model(hp)`, or a `keras_tuner.HyperModel`.
            ensemble_size: M, the number of members.
            roles: Instead of what building it shows: roles as in `from_model`.
            space: Names and ranges of the hyperparameters that shall vary. Default: all that can, over their ranges.
            fixed: Values of hyperparameters that shall not vary. Default: the hypermodel's defaults.
            sharing, include, exclude, member_normalization, **layer_options: As in `from_model`; the rank-1 factors
                are random unless `fast_weight_initializer` says something else.
            initial_values: By name, for example `best.values` of a KerasTuner search: what varies begins around its
                value, what does not has it.
            combination, output_activation, initial_width, response, seed: As in `from_model`.

        Raises:
            ValueError: If nothing can vary inside one network, or a name is unknown.

        Example:
        >>> import keras
        >>> import keras_hyperens as khe
        >>> def build_model(hp):
        ...     penalty = keras.regularizers.L2(hp.Float("l2", 1e-6, 1e-2, sampling="log"))
        ...     model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, kernel_regularizer=penalty)])
        ...     model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        ...     return model
        >>> ensemble = khe.HyperBatchEnsemble.from_hypermodel(build_model, ensemble_size=4)
        >>> ensemble.space.names
        ('l2',)
        """
        how = Sharing(ensemble_size, include, exclude, member_normalization, {"sharing": sharing, **layer_options})
        values = dict(initial_values or {})
        conversion = convert_hypermodel(hypermodel, roles, space, fixed, values, how)
        varied = {name: value for name, value in values.items() if name in conversion.space.names}
        of_ensemble = {
            "combination": combination,
            "output_activation": output_activation,
            "response": response,
            "seed": seed,
        }
        return cls._converted(conversion, how, initial_width, varied, **of_ensemble)

    @classmethod
    def _converted(
        cls: Any,
        conversion: Conversion,
        how: Sharing,
        initial_width: float | None,
        initial_values: Mapping[str, float],
        **arguments: Any,
    ) -> Any:
        if initial_width is None and how.options["sharing"] != "hyper":
            initial_width = FIXED_WIDTH
        start = {"initial_width": initial_width, "initial_values": initial_values}
        ensemble = cls(
            conversion.network, space=conversion.space, ensemble_size=how.ensemble_size, **start, **arguments
        )
        ensemble._records, ensemble._fixed = tuple(conversion.records), conversion.fixed
        if may_mix_rows(conversion.network):
            ensemble._check_rows(input_specs(ensemble))
            check_equality(
                conversion.model,
                conversion.network,
                ensemble._member_values(),
                how.ensemble_size,
                input_specs(ensemble),
            )
        if conversion.compile_arguments is not None:
            ensemble.compile(**conversion.compile_arguments)
        return ensemble

    def conversion_summary(self, print_fn: Callable[[str], Any] | None = None) -> None:
        """Prints what became of each layer of the model that this ensemble was made from, and what drives it.

        Args:
            print_fn: As in `keras.Model.summary`: gets the text in place of the standard output.

        Raises:
            ValueError: If it was not made by `from_model` or `from_hypermodel`.
        """
        if self._records is None:
            raise ValueError("Only an ensemble made by `from_model` or `from_hypermodel` has a conversion to show")
        (print_fn or print)(table(self._records, self._fixed))

    def _conversion_config(self) -> dict[str, Any] | None:
        """What `conversion_summary` needs, for files."""
        if self._records is None:
            return None
        return {"records": [asdict(each) for each in self._records], "fixed": dict(self._fixed)}

    def _set_conversion(self, config: dict[str, Any] | None) -> None:
        """Takes what `conversion_config` gave."""
        if config is not None:
            self._records = tuple(Record(**each) for each in config["records"])
            self._fixed = config["fixed"]
