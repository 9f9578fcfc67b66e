"""Weights of a layer with a kernel: structure by the kind of sharing, and initialization."""

from math import prod
from typing import Any

import keras

from keras_hyperens.layers.axes import KernelAxes
from keras_hyperens.layers.base import HyperLayer
from keras_hyperens.layers.initializers import ConstrainEachMember
from keras_hyperens.layers.initializers import another
from keras_hyperens.layers.initializers import get_initializer
from keras_hyperens.layers.initializers import of_each_member
from keras_hyperens.types import Shape

SHARINGS = ("hyper", "batch", "independent")


class KernelWeights(HyperLayer):
    """Layer with the weights of a kernel and an optional bias of M members; see `HyperBatchLayer`. Abstract."""

    settings: tuple[str, ...] = ("kernel_l1", "kernel_l2", "bias_l1", "bias_l2")
    roles = {"kernel": "kernel", "bias": "bias"}
    has_kernels = True
    _fan_in_axes: tuple[int, ...] = (-2,)
    _unit_axes: tuple[int, ...] = (-1,)

    def __init__(
        self,
        *arguments: Any,
        sharing: str = "hyper",
        same_initialization: bool = False,
        tie_fast_weights: bool = False,
        fast_weights_trainable: bool = True,
        regularize_fast_weights: bool = False,
        shared_embedding: bool = True,
        fast_weight_initializer: Any = None,
        delta_kernel_initializer: Any = "zeros",
        embedding_initializer: Any = None,
        **keywords: Any,
    ) -> None:
        check_sharing(sharing, same_initialization)
        super().__init__(*arguments, **keywords)
        self.sharing = sharing
        self.same_initialization = same_initialization
        self.tie_fast_weights = tie_fast_weights
        self.fast_weights_trainable = fast_weights_trainable
        self.regularize_fast_weights = regularize_fast_weights
        self.shared_embedding = shared_embedding
        self.fast_weight_initializer = get_initializer(
            fast_weight_initializer or keras.initializers.RandomNormal(1.0, 0.2)
        )
        self.delta_kernel_initializer = keras.initializers.get(delta_kernel_initializer)
        self.embedding_initializer = keras.initializers.get(
            embedding_initializer or keras.initializers.RandomNormal(0.0, 0.2)
        )
        self.activation = getattr(self.plain, "activation", keras.activations.linear)
        self.use_bias = getattr(self.plain, "use_bias", False)

    def _kernel_shape(self, input_shape: Shape) -> tuple[int, ...]:
        """Returns the shape of the plain layer's kernel."""
        raise NotImplementedError

    def _bias_shape(self) -> tuple[int, ...]:
        """Returns the shape of the plain layer's bias."""
        return (self.axes.num_units,)

    @property
    def is_shared(self) -> bool:
        """Whether there is one kernel with rank-1 factors instead of one kernel per member."""
        return self.sharing in ("hyper", "batch")

    @property
    def is_conditioned(self) -> bool:
        """Whether kernels depend on hyperparameters."""
        return self.sharing == "hyper" and len(self.space) > 0

    def build(self, input_shape: Shape) -> None:
        shape = self._kernel_shape(input_shape)
        self.axes = KernelAxes(shape, self._fan_in_axes, self._unit_axes)
        name = self.roles["kernel"]
        self._add_kernel(shape, getattr(self.plain, f"{name}_initializer"), getattr(self.plain, f"{name}_constraint"))
        if self.is_shared:
            self.r, self.s = self._add_factors("r", "s", 2)
        if self.use_bias:
            self._add_bias()
        if self.is_conditioned:
            self._condition(shape)
        self.built = True

    def _add_kernel(self, shape: tuple[int, ...], initializer: Any, constraint: Any) -> None:
        if not self.is_shared:
            shape = (self.ensemble_size, *shape)
            initializer = of_each_member(initializer, self.same_initialization)
            constraint = constraint and ConstrainEachMember(constraint)
        self.kernel = self._add("kernel", shape, initializer, constraint)

    def _add_factors(self, fan_in: str, units: str, number: int) -> tuple[keras.Variable, keras.Variable]:
        return tuple(
            self._add(
                name,
                (self.ensemble_size, length),
                another(self.fast_weight_initializer, number + place),
                trainable=self.fast_weights_trainable,
            )
            for place, (name, length) in enumerate(((fan_in, self.axes.num_fan_in), (units, self.axes.num_units)))
        )

    def _add_bias(self) -> None:
        shape = (self.ensemble_size, prod(self._bias_shape()))
        initializer = of_each_member(self.plain.bias_initializer, self.same_initialization)
        self.bias = self._add("bias", shape, initializer, self.plain.bias_constraint)

    def _condition(self, shape: tuple[int, ...]) -> None:
        """Adds the weights that condition the kernel and the bias on hyperparameters."""
        own, columns = [] if self.shared_embedding else [self.ensemble_size], len(self.space)
        self.delta_kernel = self._add("delta_kernel", shape, another(self.delta_kernel_initializer, 1))
        self.kernel_embedding = self._add(
            "kernel_embedding", (*own, columns, self.axes.num_units), another(self.embedding_initializer, 6)
        )
        # u and v start as r and s: a response is initially a change of the member's own kernel.
        self.u, self.v = (self.r, self.s) if self.tie_fast_weights else self._add_factors("u", "v", 2)
        if self.use_bias:
            self.delta_bias = self._add("delta_bias", self.bias.shape, "zeros")
            self.bias_embedding = self._add(
                "bias_embedding", (*own, columns, self.bias.shape[1]), another(self.embedding_initializer, 7)
            )

    def _add(
        self, name: str, shape: tuple[int, ...], initializer: Any, constraint: Any = None, trainable: bool = True
    ) -> keras.Variable:
        # No automatic cast: kernels are computed, and penalties summed, in the precision of the variables.
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=initializer,
            constraint=constraint,
            trainable=trainable,
            autocast=False,
        )

    @property
    def fast_weights(self) -> list[keras.Variable]:
        """Returns the rank-1 factors r, s and, for a `delta_kernel` with its own factors, u, v."""
        untied = [self.u, self.v] if self.is_conditioned and not self.tie_fast_weights else []
        return [self.r, self.s, *untied] if self.is_shared else []

    @property
    def embeddings(self) -> list[keras.Variable]:
        """Returns the embeddings of the hyperparameters, if kernels depend on them."""
        if not self.is_conditioned:
            return []
        return [self.kernel_embedding] + ([self.bias_embedding] if self.use_bias else [])

    def get_config(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in _OPTIONS}
        own |= {name: keras.initializers.serialize(getattr(self, name)) for name in _INITIALIZERS}
        return {**super().get_config(), **own}


def check_sharing(sharing: Any, same_initialization: Any = False) -> None:
    """Raises a `ValueError` unless the kind of sharing is known, and kernels that start equal are independent."""
    if sharing not in SHARINGS:
        raise ValueError(f"`sharing` must be one of {SHARINGS}. Received: sharing={sharing!r}")
    if not isinstance(same_initialization, bool) or (same_initialization and sharing != "independent"):
        raise ValueError(
            '`same_initialization` must be False, or True with sharing="independent", where each member has a kernel. '
            f"Received: same_initialization={same_initialization!r}, sharing={sharing!r}"
        )


_OPTIONS = (
    "sharing",
    "same_initialization",
    "tie_fast_weights",
    "fast_weights_trainable",
    "regularize_fast_weights",
    "shared_embedding",
)
_INITIALIZERS = ("fast_weight_initializer", "delta_kernel_initializer", "embedding_initializer")


def options_of(keywords: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Splits keyword arguments into those about the sharing of kernels, and all others."""
    ours = (*_OPTIONS, *_INITIALIZERS)
    return (
        {name: value for name, value in keywords.items() if name in ours},
        {name: value for name, value in keywords.items() if name not in ours},
    )
