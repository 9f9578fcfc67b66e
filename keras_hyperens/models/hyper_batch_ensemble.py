"""The hyper-batch ensemble: a Keras model around a network of hyper-batch and ordinary layers."""

import random
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_hyperens import likelihoods
from keras_hyperens import masks
from keras_hyperens.hyperparameters import HyperparameterSpace
from keras_hyperens.hyperparameters import current_hyperparameters
from keras_hyperens.hyperparameters import hyperparameter_scope
from keras_hyperens.hyperparameters.distribution import HyperparameterDistribution
from keras_hyperens.hyperparameters.scope import current_centers
from keras_hyperens.layers.members import split_members
from keras_hyperens.models.calibrating import Temperatures
from keras_hyperens.models.converting import Convertible
from keras_hyperens.models.describing import Measures
from keras_hyperens.models.divergence import make_harmless
from keras_hyperens.models.ensemble import inputs_of
from keras_hyperens.models.export import Servable
from keras_hyperens.models.export import check_arguments
from keras_hyperens.models.export import export_saved_model
from keras_hyperens.models.export import input_specs
from keras_hyperens.models.folded import member_by_member
from keras_hyperens.models.network import check_rows
from keras_hyperens.models.network import checked_network
from keras_hyperens.models.network import member_network
from keras_hyperens.models.response import ResponseCurve
from keras_hyperens.models.response import response_curves
from keras_hyperens.models.training import HyperBatchTrainer
from keras_hyperens.models.tuned_temperature import TunedTemperature

RESPONSES = ("centered", "reference")


@keras.saving.register_keras_serializable("keras_hyperens")
class HyperBatchEnsemble(Convertible, HyperBatchTrainer):
    """M members in one network, which share nearly all weights and differ in hyperparameters; trained by one `fit`.

    Every training step draws hyperparameters for every member from the member's own distribution and trains the
    weights for them; every few steps the distributions themselves are tuned on held-out rows. A trained member is the
    network in the middle of its interval, and a prediction is the mean of the members' predictions. A member that
    diverges in training is left out, with a warning (`left_out` has the numbers of such): predictions are of the
    others.

    Args:
        network: A Keras model (Sequential, Functional, subclassed, nested) of hyper-batch and ordinary layers, from
            plain batches to raw outputs. Ordinary layers are shared by all members. It must treat rows one by one.
        space, ensemble_size: What is tuned, and the number of members M. Default: those of the network's layers, which
            must agree. Give `space` where the loss alone has hyperparameters. An empty one makes a batch ensemble.
        combination: How members become one prediction: `"mean"` (default), `"trimmed_mean"` (without the member
            farthest from the median, row by row), `("trimmed_mean", n_outliers)`, or `"median"` (renormalized for class
            probabilities). Training and tuning always look at the mean.
        output_activation: What turns raw outputs into predictions: `"softmax"`, `"sigmoid"`, `"gaussian"` (means and
            logarithms of standard deviations, to means and variances) or `None`, for several outputs a list or
            dictionary of these. Default `"auto"`: `compile` settles it by the loss and its `from_logits`.
        initial_width: Width of each member's initial interval, a fraction of the range of every hyperparameter.
            Default 1/3, and 0.15 around initial values.
        initial_values: Values around which the members begin, by name: for example the best ones of a search. By
            default they begin spread over the whole range.
        response: How kernels respond to hyperparameters. `"centered"` (default): to the distance from the middle of the
            member's own interval, where the kernel is that of a batch ensemble. `"reference"`: to the position in the
            range, as in the paper, where the second kernel learns what the first one learns, and tuning can follow the
            wrong sign.
        seed: Seed of the initial intervals, of the draws and of the order of tuning rows. Default: drawn from Python's
            generator, which `keras.utils.set_random_seed` sets.

    Input shape:
        What the network takes: plain batches `(B, ...)`; members are tiled inside.

    Output shape:
        The combined prediction, `(B, ..., C)`: probabilities for a classifier.

    Raises:
        TypeError: If `network` is not a Keras model or `space` not a space.
        ValueError: If the network has no hyper-batch layer, or layers of another ensemble; if a seed is negative.

    Example:
    >>> import keras
    >>> import numpy as np
    >>> import keras_hyperens as khe
    >>> space = khe.HyperparameterSpace([khe.Hyperparameter("l2", 1e-6, 1e-2, "log")])
    >>> members = dict(ensemble_size=4, space=space)
    >>> network = keras.Sequential([
    ...     keras.Input((3,)),
    ...     khe.HyperBatchDense(8, activation="relu", kernel_l2="l2", **members),
    ...     khe.HyperBatchDense(2, kernel_l2="l2", **members),
    ... ])
    >>> ensemble = khe.HyperBatchEnsemble(network, seed=0)
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
        *,
        space: HyperparameterSpace | None = None,
        ensemble_size: int | None = None,
        combination: likelihoods.Combination = "mean",
        output_activation: Any = "auto",
        initial_width: float | None = None,
        initial_values: Mapping[str, float] | None = None,
        response: str = "centered",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        if seed is not None and (not isinstance(seed, int) or seed < 0):
            raise ValueError(f"`seed` must be a non-negative integer or None. Received: seed={seed!r}")
        if response not in RESPONSES:
            raise ValueError(f"`response` must be one of {RESPONSES}. Received: response={response!r}")
        space, ensemble_size = checked_network(network, space, ensemble_size)
        combination = likelihoods.checked_combination(combination)
        outputs = keras.tree.flatten(getattr(network, "outputs", None) or [None])
        likelihoods.check_output_activation(output_activation, len(outputs))
        kwargs.setdefault("dtype", network.dtype_policy)
        super().__init__(**kwargs)
        self.network = network
        self.space = space
        self.ensemble_size = ensemble_size
        self.combination = combination
        self.response = response
        self.seed = random.randrange(2**31) if seed is None else seed
        self.initial_width = initial_width
        self.distribution = HyperparameterDistribution(space, ensemble_size, initial_width, self.seed, initial_values)
        self.initial_values = dict(initial_values or {})
        self.left_out: tuple[int, ...] = ()
        self.step = self.add_weight(
            name="step", shape=(), dtype="int64", initializer="zeros", trainable=False, aggregation="only_first_replica"
        )
        self.temperature = TunedTemperature(len(outputs))
        self.output_activation = output_activation
        self.likelihoods = likelihoods.named(output_activation)
        self.output_names = getattr(network, "output_names", None)
        if network.built:
            self.build(getattr(network, "input_shape", None))

    def build(self, input_shape: Any) -> None:
        if not self.network.built:
            self.network.build(input_shape)
        self.built = True

    def _member_outputs(self, inputs: Any, training: bool | None = None) -> Any:
        """Raw outputs of every member, `[M, B, ..., C]`: at the scope's values, or at its own outside any scope."""
        return self._outputs_of_members([inputs] * self.ensemble_size, training)

    def _outputs_of_members(self, inputs: Sequence[Any], training: bool | None = None) -> Any:
        """Raw outputs of every member for a batch of its own, `[M, B, ..., C]`.

        Args:
            inputs: For each member a batch of the same size.
            training: As in `call`.
        """
        if current_hyperparameters() is None:
            with self._prediction_scope():
                return self._outputs_of_members(inputs, training)
        batch_size = ops.shape(keras.tree.flatten(inputs[0])[0])[0]
        rows = keras.tree.map_structure(lambda *leaves: ops.concatenate(leaves), *inputs)
        outputs = self.network(rows, training=training)

        def of_members(rows: Any) -> Any:
            members = split_members(rows, self.ensemble_size, batch_size)
            return tf.gather(members, self._alive) if self.left_out else members

        return masks.mapped(of_members, outputs, mask=of_members)

    @property
    def _alive(self) -> list[int]:
        """Numbers of the members that training did not leave out."""
        return [k for k in range(self.ensemble_size) if k not in self.left_out]

    def leave_out(self, members: Sequence[int]) -> None:
        """Trains these members no further, and predicts without them; `fit` does this with members that diverge.

        Their weights stay where they are; where members share weights, they become those of another member, so that
        they are in nobody's way.

        Args:
            members: Numbers of members, in [0, M).

        Raises:
            ValueError: If there are no such members, or no other is left.
        """
        left_out = {*self.left_out, *members}
        if not left_out < set(range(self.ensemble_size)):
            raise ValueError(
                f"Members must be numbers below {self.ensemble_size}, and one must be left. "
                f"Received: members={list(members)}, left out before: {list(self.left_out)}"
            )
        self.left_out = tuple(sorted(left_out))
        make_harmless(self.network, self.left_out, self._alive)
        self._set_temperatures(None)
        self._forget_traces()
        if self.train_function is not None:
            self._forget_steps()
            self.make_train_function()  # training may be under way

    def _member_values(self) -> Any:
        """What the members are at prediction, `[M, 1, P]`, natural scale.

        The middle of each interval, where a centered response is zero; with the reference's response the mean of the
        distribution.
        """
        of_bounds = self.distribution.middle if self.response == "centered" else self.distribution.mean
        return ops.expand_dims(of_bounds(self.distribution.bounds()), 1)

    def _centers(self, bounds: Any = None) -> Any:
        """Where kernels do not respond, `[M, 1, P]`, natural scale; `None` with the reference's response."""
        if self.response != "centered":
            return None
        middle = self.distribution.middle(self.distribution.bounds() if bounds is None else bounds)
        return ops.stop_gradient(ops.expand_dims(middle, 1))

    def _prediction_scope(self, as_numpy: bool = False) -> AbstractContextManager:
        """The scope of a prediction; with `as_numpy` its values are constants of a trace."""
        values, centers = self._member_values(), self._centers()
        if as_numpy:
            values, centers = (None if each is None else ops.convert_to_numpy(each) for each in (values, centers))
        return hyperparameter_scope(values, centers)

    def _at_temperature(self, raw: Any, logarithms: Any = None) -> Any:
        """Raw outputs at the tuned temperatures, or at those with the given logarithms, one for each output."""
        logarithms = self.temperature.logarithms if logarithms is None else logarithms
        return self._at(lambda likelihood, *of_output: likelihood.temper_raw(*of_output), raw, logarithms)

    def _final(self, pooled: Any) -> Any:
        temperatures = self.temperatures
        if temperatures is not None and temperatures.per == "member":  # they took the place of the tuned one
            return pooled
        logarithms = self.temperature.logarithms
        return super()._final(
            self._at(lambda likelihood, *of_output: likelihood.temper(*of_output), pooled, logarithms)
        )

    def _at(self, tempered: Any, outputs: Any, logarithms: Any) -> Any:
        flat, of_outputs = keras.tree.flatten(outputs), keras.tree.flatten(self.likelihoods_of(outputs))
        temperatures = ops.exp(ops.convert_to_tensor(logarithms))
        last = temperatures.shape[0] - 1  # a subclassed network has one for all of its outputs
        changed = [
            masks.with_mask(tempered(likelihood, output, temperatures[min(number, last)]), masks.mask_of(output))
            for number, (output, likelihood) in enumerate(zip(flat, of_outputs, strict=True))
        ]
        return keras.tree.pack_sequence_as(outputs, changed)

    def temperature_values(self) -> np.ndarray:
        """The tuned temperature of each output (a factor of a Gaussian's variance): 1 where nothing was tuned."""
        return np.exp(ops.convert_to_numpy(self.temperature.logarithms))

    def calibrate(self, x: Any, y: Any = None, per: str = "ensemble", **arguments: Any) -> Temperatures:
        """As in every ensemble, on top of the tuned temperature; those of members take the place of it."""
        temperatures = super().calibrate(x, y, per, **arguments)
        if per == "member":
            self.temperature.forget()
        return temperatures

    def hyperparameter_values(self) -> dict[str, np.ndarray]:
        """Each hyperparameter's values, one per member `[M]`, in natural scale: see `member_values`."""
        values = ops.convert_to_numpy(self._member_values())
        return {name: values[:, 0, column] for column, name in enumerate(self.space.names)}

    def hyperparameter_bounds(self) -> dict[str, np.ndarray]:
        """Each hyperparameter's tuned bounds, `[M, 2]`, natural scale."""
        bounds = np.stack([ops.convert_to_numpy(self.space.values(b)) for b in self.distribution.bounds()], -1)
        return {name: bounds[:, column] for column, name in enumerate(self.space.names)}

    def response_curves(
        self, x: Any, y: Any, points: int = 15, batch_size: int = 500, verbose: int = 1
    ) -> dict[str, ResponseCurve]:
        """The loss on these rows over the range of each hyperparameter, without training anything.

        All members take the value of the one hyperparameter, and stay at their means in the others. The network was
        trained to give the best weights for every value, so these curves say what another strength of L2 or rate of
        dropout would have been worth. `keras_hyperens.plots.response_curve` draws one.

        Args:
            x, y: Rows and labels that were not trained on, arrays or structures of arrays.
            points: Values of each hyperparameter, equally far apart on its own scale.
            batch_size: Rows at a time.
            verbose: 1 shows progress, 0 nothing.

        Returns:
            By the hyperparameter's name, `values` `[points]` (natural scale), `losses` `[points]` of the combined
            prediction, and `members` `[M, points]` of each member that was not left out: the compiled loss, without
            penalties.

        Raises:
            ValueError: If there is no hyperparameter, the ensemble is not compiled, or there are fewer than two points.
        """
        if not len(self.space) or not self.compiled or points < 2:
            raise ValueError(
                "Response curves need hyperparameters, a compiled loss and at least two points. Received: "
                f"{len(self.space)} hyperparameters, compiled={self.compiled}, points={points}"
            )
        return response_curves(self, x, y, points, batch_size, verbose)

    def member(self, member: int) -> keras.Model:
        """A plain Keras model of one member at its mean, with raw outputs; it has no hyper-batch layer.

        Raises:
            ValueError: If there is no such member, or the network is subclassed.
        """
        if not 0 <= member < self.ensemble_size:
            raise ValueError(f"`member` must be in [0, {self.ensemble_size}). Received: member={member}")
        if member in self.left_out:
            raise ValueError(
                f"Members {list(self.left_out)} diverged in training and were left out: take one of {self._alive}. "
                f"Received: member={member}"
            )
        if not self.network.built:
            raise ValueError(f"The network must be built: call the ensemble on a batch first. Received: {self.name!r}")
        with self._prediction_scope(as_numpy=True):
            return member_network(self.network, member, self.space, current_hyperparameters())

    def _prepare(self, batch: Any) -> None:
        """Builds everything and checks the order of rows, so that `fit` fails before its first step or not at all."""
        self._seen.batch = batch
        self._check_rows(batch)  # calls the network: it is built now
        if not self.built:
            self.build(keras.tree.map_structure(lambda spec: tuple(spec.shape), batch))
        self._build_optimizers()

    def _check_rows(self, batch: Any) -> None:
        """Raises a `ValueError` if the network, called on such a batch, drops, adds, reorders or mixes rows."""
        is_numeric = all(spec.dtype not in (tf.string, "string") for spec in keras.tree.flatten(batch))
        if self._seen.rows_checked or not is_numeric:  # no row of strings can be made up
            return
        with self._prediction_scope(as_numpy=True):
            check_rows(self.network, batch, self.ensemble_size)
        self._seen.rows_checked = True

    def _declared_inputs(self) -> Any:
        return inputs_of(self.network)

    def _servable(self) -> Servable:
        with self._prediction_scope(as_numpy=True):
            read, outputs = member_by_member(self.network, self._alive, current_hyperparameters(), current_centers())
        return [*read, self.temperature.logarithms.value], outputs

    def export(
        self,
        filepath: str,
        format: str = "tf_saved_model",
        *,
        folded: bool = True,
        measures: Measures | None = None,
        **export_arguments: Any,
    ) -> None:
        """As `HyperDeepEnsemble.export`; a SavedModel computes at the means of the members' hyperparameters.

        Args:
            filepath, format, measures, **export_arguments: As there.
            folded: Whether a SavedModel holds M kernels of every layer (default), so that no call has to build them; if
                not, it holds the shared kernels and factors, about 2 / M of that, and a call is slower.
        """
        check_arguments(format, export_arguments, measures=measures, folded=None if folded else folded)
        if format == "tf_saved_model":
            servable = self._servable if folded else super()._servable
            return export_saved_model(self, filepath, measures, servable, **export_arguments)
        batch = keras.tree.map_structure(
            lambda spec: tf.zeros([1, *(axis or 1 for axis in spec.shape[1:])], spec.dtype), input_specs(self)
        )
        with self._prediction_scope(as_numpy=True):
            self(batch)  # Keras exports only what was called
            super().export(filepath, format=format, **export_arguments)

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
            "space": keras.saving.serialize_keras_object(self.space),
            "ensemble_size": self.ensemble_size,
            "output_activation": self.output_activation,
            "likelihoods": likelihoods.names_of(self.likelihoods),
            "initial_width": self.initial_width,
            "initial_values": self.initial_values,
            "response": self.response,
            "seed": self.seed,
            "conversion": self._conversion_config(),
            "left_out": list(self.left_out),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "HyperBatchEnsemble":
        config, temperatures = cls._readable(config)
        names, conversion = config.pop("likelihoods", None), config.pop("conversion", None)
        left_out = config.pop("left_out", ())
        for name in ("network", "space"):
            config[name] = keras.saving.deserialize_keras_object(config[name], custom_objects=custom_objects)
        ensemble = cls(**config)
        ensemble.likelihoods = likelihoods.named(names)
        ensemble.left_out = tuple(left_out)
        ensemble._set_conversion(conversion)
        ensemble._set_temperatures(temperatures)
        return ensemble
