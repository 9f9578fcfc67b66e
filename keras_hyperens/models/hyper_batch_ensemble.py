"""The hyper-batch ensemble: a Keras model around a network of hyper-batch and ordinary layers."""

import random
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_hyperens import heads
from keras_hyperens.conversion import Conversion
from keras_hyperens.conversion import Record
from keras_hyperens.conversion import Sharing
from keras_hyperens.conversion import convert_hypermodel
from keras_hyperens.conversion import convert_model
from keras_hyperens.conversion import table
from keras_hyperens.hyperparameters import Hyperparameter
from keras_hyperens.hyperparameters import HyperparameterSpace
from keras_hyperens.hyperparameters import current_hyperparameters
from keras_hyperens.hyperparameters import hyperparameter_scope
from keras_hyperens.hyperparameters.distribution import HyperparameterDistribution
from keras_hyperens.layers.members import split_members
from keras_hyperens.layers.members import tile_members
from keras_hyperens.models.ensemble import Ensemble
from keras_hyperens.models.export import input_specs
from keras_hyperens.models.folded import folded
from keras_hyperens.models.network import check_network
from keras_hyperens.models.network import check_rows
from keras_hyperens.models.network import may_mix_rows
from keras_hyperens.models.network import member_network
from keras_hyperens.models.training import HyperBatchTrainer

FORMAT_VERSION = 1


@keras.saving.register_keras_serializable("keras_hyperens")
class HyperBatchEnsemble(HyperBatchTrainer):
    """M members in one network, which share nearly all weights and differ in hyperparameters; trained by one `fit`.

    Every training step draws hyperparameters for every member from the member's own distribution and trains the
    weights for them; every few steps the distributions themselves are tuned on held-out rows. A trained member is the
    network at the mean of its distribution, and a prediction is the mean of the members' predictions.

    Args:
        network: A Keras model (Sequential, Functional, subclassed, nested) of hyper-batch and ordinary layers, from
            plain batches to raw outputs. Ordinary layers are shared by all members. It must treat rows one by one.
        hyperparameters: The `HyperparameterSpace` of its layers, or `None`: a batch ensemble, nothing to tune.
        ensemble_size: M, the number of members, as in the layers.
        output_activation: What turns raw outputs into predictions: `"softmax"`, `"sigmoid"` or `None`, for several
            outputs a list or dictionary of these. Default `"auto"`: `compile` settles it by the loss's `from_logits`.
        initial_width: Width of each member's initial interval, a fraction of the range of every hyperparameter.
        seed: Seed of the initial intervals, of the draws and of the order of tuning rows. Default: drawn from Python's
            generator, which `keras.utils.set_random_seed` sets.

    Input shape:
        What the network takes: plain batches `(B, ...)`; members are tiled inside.

    Output shape:
        The combined prediction, `(B, ..., C)`: probabilities for a classifier.

    Raises:
        TypeError: If `network` is not a Keras model or `hyperparameters` not a space.
        ValueError: If the network has no hyper-batch layer, or layers of another ensemble; if a seed is negative.

    Example:
    >>> import keras
    >>> import numpy as np
    >>> import keras_hyperens as khe
    >>> space = khe.HyperparameterSpace([khe.Hyperparameter("l2", 1e-6, 1e-2)])
    >>> members = dict(ensemble_size=4, hyperparameters=space)
    >>> network = keras.Sequential([
    ...     keras.Input((3,)),
    ...     khe.HyperBatchDense(8, activation="relu", kernel_l2="l2", **members),
    ...     khe.HyperBatchDense(2, kernel_l2="l2", **members),
    ... ])
    >>> ensemble = khe.HyperBatchEnsemble(network, **members, seed=0)
    >>> ensemble.compile("adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    >>> x, y = np.random.default_rng(0).normal(size=(64, 3)), np.arange(64) % 2
    >>> history = ensemble.fit(x, y, tuning_split=0.25, epochs=2, verbose=0)
    >>> ensemble.predict(x, verbose=0).shape, ensemble.predict_members(x, verbose=0).shape
    ((64, 2), (4, 64, 2))

    References:
        - Wenzel et al., [Hyperparameter Ensembles for Robustness and Uncertainty
          Quantification](https://arxiv.org/abs/2006.13570), NeurIPS 2020
    """

    def __init__(
        self,
        network: keras.Model,
        hyperparameters: HyperparameterSpace | None = None,
        ensemble_size: int = 4,
        *,
        output_activation: Any = "auto",
        initial_width: float = 1 / 3,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        space = HyperparameterSpace() if hyperparameters is None else hyperparameters
        if not isinstance(space, HyperparameterSpace):
            raise TypeError(f"`hyperparameters` must be a `HyperparameterSpace`. Received: hyperparameters={space!r}")
        if seed is not None and (not isinstance(seed, int) or seed < 0):
            raise ValueError(f"`seed` must be a non-negative integer or None. Received: seed={seed!r}")
        check_network(network, space, ensemble_size)
        heads.check_output_activation(output_activation)
        kwargs.setdefault("dtype", network.dtype_policy)
        super().__init__(**kwargs)
        self.network = network
        self.hyperparameters = space
        self.ensemble_size = ensemble_size
        self.seed = random.randrange(2**31) if seed is None else seed
        self.initial_width = initial_width
        self.distribution = HyperparameterDistribution(space, ensemble_size, initial_width, self.seed)
        self.step = self.add_weight(
            name="step", shape=(), dtype="int64", initializer="zeros", trainable=False, aggregation="only_first_replica"
        )
        self.output_activation = output_activation
        self.heads = None if output_activation == "auto" else output_activation
        self.output_names = getattr(network, "output_names", None)
        if network.built:
            self.build(getattr(network, "input_shape", None))

    @classmethod
    def from_model(
        cls,
        model: keras.Model,
        hyperparameters: Mapping[str, Hyperparameter] | None = None,
        ensemble_size: int = 4,
        *,
        sharing: str = "hyper",
        include: Iterable[str | type[keras.layers.Layer]] | None = None,
        exclude: Iterable[str | type[keras.layers.Layer]] = (),
        member_normalization: bool | None = None,
        fast_weight_initializer: Any = "ones",
        initial_width: float | None = None,
        seed: int | None = None,
        **layer_options: Any,
    ) -> "HyperBatchEnsemble":
        """An ensemble from an ordinary Keras model, with the model's weights.

        By default every member first predicts what the model predicts: the rank-1 factors are one, `delta_kernel` is
        zero. They come apart in training, because they differ in hyperparameters. If the model is compiled, so is the
        ensemble, with a new optimiser of the same kind.

        Args:
            model: Sequential or Functional, also nested, with shared layers or branches; it is not changed.
            hyperparameters: Role to `Hyperparameter`: what shall vary between members. Roles are the penalties `"l2"`,
                `"l1"` (kernels and biases), `"kernel_l2"`, `"bias_l2"`, `"kernel_l1"`, `"bias_l1"`, then `"dropout"`
                (the rate of every dropout that the model has), `"noise"` and `"label_smoothing"`. What has no role
                stays as it is in the model.
            ensemble_size: M, the number of members.
            sharing: `"hyper"` (default), `"batch"`: a batch ensemble; `"none"`: independent members in one graph, a
                deep ensemble, or with hyperparameters a hyperparameter ensemble whose members keep the values that
                they begin with; `"fixed_initialization"`: independent members that start equal.
            include, exclude: Which layers become layers of members: names, with `*` for any letters, or classes.
                Default: all that can; the others are shared.
            member_normalization: Whether batch and layer normalisation have statistics and parameters of each member.
                Default: where members share nothing else.
            fast_weight_initializer: Of the rank-1 factors; for example `keras.initializers.RandomNormal(1, 0.1)`
                makes members differ from the start, at the price of the model's predictions.
            initial_width, seed: As in `HyperBatchEnsemble`.
            **layer_options: More options of `HyperBatchLayer`, for all layers: `tie_fast_weights`,
                `fast_weights_trainable`, `shared_embedding`, and so on. With `ensemble_size=1`,
                `tie_fast_weights=True` and `fast_weights_trainable=False` the result is a self-tuning network.

        Raises:
            TypeError: If `model` is not a Keras model.
            ValueError: If it is subclassed or has no weights, a role is unknown, or no layer can be converted.

        Example:
        >>> import keras
        >>> import keras_hyperens as khe
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(2)])
        >>> ensemble = khe.HyperBatchEnsemble.from_model(model, {"l2": khe.Hyperparameter("l2", 1e-6, 1e-2)})
        >>> ensemble.predict(np.ones((5, 3)), verbose=0).shape
        (5, 2)

        References:
            - MacKay et al., [Self-Tuning Networks](https://arxiv.org/abs/1903.03088)
            - Wen et al., [BatchEnsemble](https://arxiv.org/abs/2002.06715)
        """
        options = {"sharing": sharing, "fast_weight_initializer": fast_weight_initializer, **layer_options}
        how = Sharing(ensemble_size, include, exclude, member_normalization, options)
        return cls._converted(convert_model(model, hyperparameters or {}, how), how, initial_width, seed)

    @classmethod
    def from_hypermodel(
        cls,
        hypermodel: Any,
        ensemble_size: int = 4,
        *,
        hyperparameters: Mapping[str, Hyperparameter] | None = None,
        space: HyperparameterSpace | None = None,
        fixed: dict[str, Any] | None = None,
        sharing: str = "hyper",
        include: Iterable[str | type[keras.layers.Layer]] | None = None,
        exclude: Iterable[str | type[keras.layers.Layer]] = (),
        member_normalization: bool | None = None,
        initial_width: float | None = None,
        seed: int | None = None,
        **layer_options: Any,
    ) -> "HyperBatchEnsemble":
        """An ensemble from the function `build_model(hp)` that KerasTuner and `HyperDeepEnsembleBuilder` take.

        The hypermodel is built at several values of each `Float` hyperparameter, and what changes in the model says
        what it drives. Strengths of penalties, rates of dropout and noise, label smoothing and weights of outputs vary
        between members; what changes anything else (units, depth, the learning rate) is the same for all of them.
        `conversion_summary()` lists both. Loss, metrics and optimiser are the compiled model's.

        Args:
            hypermodel: A function `build_model(hp)`, or a `keras_tuner.HyperModel`.
            ensemble_size: M, the number of members.
            hyperparameters: Instead of what building it shows: roles as in `from_model`.
            space: Names and ranges of the hyperparameters that shall vary. Default: all that can, over their ranges.
            fixed: Values of hyperparameters that shall not vary. Default: the hypermodel's defaults.
            sharing, include, exclude, member_normalization, **layer_options: As in `from_model`; the rank-1 factors
                are random unless `fast_weight_initializer` says something else.
            initial_width, seed: As in `HyperBatchEnsemble`.

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
        >>> ensemble.hyperparameters.names
        ('l2',)
        """
        how = Sharing(ensemble_size, include, exclude, member_normalization, {"sharing": sharing, **layer_options})
        conversion = convert_hypermodel(hypermodel, hyperparameters, space, fixed, how)
        return cls._converted(conversion, how, initial_width, seed)

    @classmethod
    def _converted(
        cls, conversion: Conversion, how: Sharing, initial_width: float | None, seed: int | None
    ) -> "HyperBatchEnsemble":
        if initial_width is None:  # members that cannot tune keep the values that they begin with
            initial_width = 1 / 3 if how.options["sharing"] == "hyper" else 1e-2
        ensemble = cls(conversion.network, conversion.space, how.ensemble_size, initial_width=initial_width, seed=seed)
        ensemble._conversion = SimpleNamespace(records=conversion.records, fixed=conversion.fixed)
        if may_mix_rows(conversion.network):
            ensemble.check_rows(input_specs(ensemble))
        if conversion.compile_arguments is not None:
            ensemble.compile(**conversion.compile_arguments)
        return ensemble

    _conversion: Any = None

    def conversion_summary(self) -> None:
        """Prints what became of each layer of the model that this ensemble was made from, and what drives it.

        Raises:
            ValueError: If it was not made by `from_model` or `from_hypermodel`.
        """
        if self._conversion is None:
            raise ValueError("Only an ensemble made by `from_model` or `from_hypermodel` has a conversion to show")
        print(table(self._conversion.records, self._conversion.fixed))

    def build(self, input_shape: Any) -> None:
        if not self.network.built:
            self.network.build(input_shape)
        self.built = True

    def member_predictions(self, inputs: Any, training: bool | None = None) -> Any:
        """Predictions of every member, `[M, B, ..., C]`, in the structure of the network's outputs."""
        raw = self.member_outputs(inputs, training)
        return keras.tree.map_structure(heads.prediction, raw, self.heads_of(raw))

    def member_outputs(self, inputs: Any, training: bool | None = None) -> Any:
        """Raw outputs of every member, `[M, B, ..., C]`: at the scope's values, or at the means outside any scope."""
        if current_hyperparameters() is None:
            with hyperparameter_scope(self.mean_values()):
                return self.member_outputs(inputs, training)
        batch_size = ops.shape(keras.tree.flatten(inputs)[0])[0]
        rows = keras.tree.map_structure(lambda leaf: tile_members(leaf, self.ensemble_size), inputs)
        outputs = self.network(rows, training=training)
        return keras.tree.map_structure(lambda output: split_members(output, self.ensemble_size, batch_size), outputs)

    def mean_values(self) -> Any:
        """The means of the members' distributions, `[M, 1, P]`, natural scale."""
        return ops.expand_dims(self.distribution.mean(self.distribution.bounds()), 1)

    def hyperparameter_values(self) -> dict[str, np.ndarray]:
        """Each hyperparameter's values, one per member `[M]`: the means of the distributions, natural scale."""
        values = ops.convert_to_numpy(self.mean_values())
        return {name: values[:, 0, column] for column, name in enumerate(self.hyperparameters.names)}

    def hyperparameter_bounds(self) -> dict[str, np.ndarray]:
        """Each hyperparameter's tuned bounds, `[M, 2]`, natural scale."""
        bounds = np.stack(
            [ops.convert_to_numpy(self.hyperparameters.values(b)) for b in self.distribution.bounds()], -1
        )
        return {name: bounds[:, column] for column, name in enumerate(self.hyperparameters.names)}

    def member(self, member: int) -> keras.Model:
        """A plain Keras model of one member at its mean, with raw outputs; it has no hyper-batch layer.

        Raises:
            ValueError: If there is no such member, or the network is subclassed.
        """
        if not 0 <= member < self.ensemble_size:
            raise ValueError(f"`member` must be in [0, {self.ensemble_size}). Received: member={member}")
        if not self.network.built:
            raise ValueError(f"The network must be built: call the ensemble on a batch first. Received: {self.name!r}")
        return member_network(self.network, member, self.hyperparameters, ops.convert_to_numpy(self.mean_values()))

    def prepare(self, batch: Any) -> None:
        """Builds everything and checks the order of rows, so that `fit` fails before its first step or not at all."""
        self._seen.batch = batch
        self.check_rows(batch)  # calls the network: it is built now
        if not self.built:
            self.build(keras.tree.map_structure(lambda spec: tuple(spec.shape), batch))
        self.build_optimizers()

    def check_rows(self, batch: Any) -> None:
        """Raises a `ValueError` if the network, called on such a batch, drops, adds, reorders or mixes rows."""
        is_numeric = all(spec.dtype not in (tf.string, "string") for spec in keras.tree.flatten(batch))
        if self._seen.rows_checked or not is_numeric:  # no row of strings can be made up
            return
        check_rows(self.network, batch, self.ensemble_size, ops.convert_to_numpy(self.mean_values()))
        self._seen.rows_checked = True

    def declared_inputs(self) -> list[Any] | None:
        return getattr(self.network, "inputs", None)

    def servable(self) -> tuple[list[tf.Variable], Callable[[], AbstractContextManager]]:
        return folded(self.network, ops.convert_to_numpy(self.mean_values()))

    def export(self, filepath: str, format: str = "tf_saved_model", **export_arguments: Any) -> None:
        if format == "tf_saved_model":
            return super().export(filepath)
        batch = keras.tree.map_structure(
            lambda spec: tf.zeros([1, *(axis or 1 for axis in spec.shape[1:])], spec.dtype), input_specs(self)
        )
        with hyperparameter_scope(ops.convert_to_numpy(self.mean_values())):
            self(batch)  # Keras exports only what was called
            super().export(filepath, format=format, **export_arguments)

    export.__doc__ = Ensemble.export.__doc__

    def save_own_variables(self, store: Any) -> None:
        super().save_own_variables(store)
        for number, state in enumerate(self._seed_states()):
            store[f"seed_state_{number}"] = state

    def load_own_variables(self, store: Any) -> None:
        own = {name: store[name] for name in store.keys() if not name.startswith("seed_state_")}
        super().load_own_variables(own)
        for number, state in enumerate(self._seed_states()):
            state.assign(store[f"seed_state_{number}"])

    def _seed_states(self) -> list[keras.Variable]:
        """Random states of the network's layers, which Keras leaves out of its files."""
        return [variable for variable in self.network.variables if variable.name == "seed_generator_state"]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "network": keras.saving.serialize_keras_object(self.network),
            "hyperparameters": keras.saving.serialize_keras_object(self.hyperparameters),
            "ensemble_size": self.ensemble_size,
            "output_activation": self.output_activation,
            "heads": self.heads,
            "initial_width": self.initial_width,
            "seed": self.seed,
            "conversion": self._conversion
            and {"records": list(map(asdict, self._conversion.records)), "fixed": self._conversion.fixed},
            "format_version": FORMAT_VERSION,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "HyperBatchEnsemble":
        config = dict(config)
        version, heads = config.pop("format_version", None), config.pop("heads", None)
        conversion = config.pop("conversion", None)
        if version != FORMAT_VERSION:
            raise ValueError(
                f"This version of keras_hyperens reads files of format {FORMAT_VERSION}; save the ensemble again with "
                f"this version, or install the one that wrote the file. Received: format_version={version}"
            )
        for name in ("network", "hyperparameters"):
            config[name] = keras.saving.deserialize_keras_object(config[name], custom_objects=custom_objects)
        ensemble = cls(**config)
        ensemble.heads = heads
        if conversion is not None:
            records = [Record(**record) for record in conversion["records"]]
            ensemble._conversion = SimpleNamespace(records=records, fixed=conversion["fixed"])
        return ensemble
