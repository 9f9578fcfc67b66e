"""Attention layers of M members: multi-head and grouped-query."""

from functools import reduce
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_hyperens.layers.base import HyperLayer
from keras_hyperens.layers.composite import HyperBatchComposite
from keras_hyperens.layers.dropout import HyperDropout
from keras_hyperens.layers.einsum_dense import HyperBatchEinsumDense
from keras_hyperens.types import Shape
from keras_hyperens.types import Tensor
from keras_hyperens.types import TensorTree

ROLES = {"kernel": "kernel", "bias": "bias"}


class HyperBatchAttention(HyperBatchComposite):
    """Multi-head dot-product attention with `HyperBatchEinsumDense` projections. Abstract."""

    settings = ("kernel_l1", "kernel_l2", "bias_l1", "bias_l2", "dropout")
    roles = ROLES

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        config = self.plain.get_config()
        for name in ("use_gate", "sliding_window"):
            if config.get(name):
                raise ValueError(f"`{type(self).__name__}` cannot use `{name}`. Received: {name}={config[name]!r}")
        self.supports_masking = True
        rate = 0.0 if self.dropout is None else self.dropout
        members = {"ensemble_size": self.ensemble_size, "space": self.space}
        self.score_dropout = HyperDropout(rate, seed=config["seed"], dtype=self.dtype_policy, **members)

    @classmethod
    def from_plain(cls, plain: keras.layers.Layer, members: dict[str, Any]) -> HyperLayer:
        shapes = (plain.get_build_config() or {}).get("shapes_dict", {})
        if "query_shape" in shapes:
            _check_axes(plain, shapes["query_shape"], shapes["value_shape"])
        return super().from_plain(plain, members)

    def _heads(self) -> tuple[int, int, int, int]:
        """Returns the numbers of query heads and of key-value heads, and the sizes of a key and of a value."""
        raise NotImplementedError

    def _output_units(self, query_shape: Shape) -> int:
        """Returns the size of the output."""
        return int(query_shape[-1] or 0)

    def _make_parts(self) -> None:
        """`build` creates the parts, because the output size depends on the query."""

    def build(self, query_shape: Shape, value_shape: Shape, key_shape: Shape | None = None) -> None:
        _check_axes(self.plain, query_shape, value_shape)
        queries, others, key_dim, value_dim = self._heads()
        shapes = (query_shape, value_shape if key_shape is None else key_shape, value_shape)
        sizes = ((queries, key_dim), (others, key_dim), (others, value_dim))
        names = ("query", "key", "value")
        for name, shape, size in zip(names, shapes, sizes, strict=True):
            part = self._projection(name, "abc,cde->abde", (None, *size), "de")
            part.build((shape[0], None, shape[-1]))
            setattr(self, name, part)
        units = (None, self._output_units(query_shape))
        self.attention_output = self._projection("attention_output", "abde,dec->abc", units, "c")
        self.attention_output.build((query_shape[0], None, queries, value_dim))
        self.built = True

    def _projection(self, name: str, equation: str, shape: Shape, bias_axes: str) -> keras.layers.Layer:
        config = self.plain.get_config()
        common = ("kernel_initializer", "bias_initializer", "kernel_constraint", "bias_constraint")
        arguments = {argument: config[argument] for argument in common}
        return self._part(
            HyperBatchEinsumDense,
            ROLES,
            equation=equation,
            output_shape=shape,
            bias_axes=bias_axes if config["use_bias"] else None,
            name=name,
            **arguments,
        )

    def call(
        self,
        query: Tensor,
        value: Tensor,
        key: Tensor | None = None,
        query_mask: Tensor | None = None,
        value_mask: Tensor | None = None,
        key_mask: Tensor | None = None,
        attention_mask: Tensor | None = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        use_causal_mask: bool = False,
    ) -> TensorTree:
        options: Any = {"is_causal": use_causal_mask, "returns_scores": return_attention_scores, "training": training}
        key = value if key is None else key
        masks = (query_mask, value_mask, key_mask)
        if len(query.shape) == 3:
            return self._attend(query, value, key, (*masks, attention_mask), **options)
        if use_causal_mask:
            raise ValueError("A causal mask requires one time axis. Received: use_causal_mask=True, inputs of two axes")
        of_query, of_value = ops.shape(query)[1:-1], ops.shape(value)[1:-1]
        flat = [None if mask is None else ops.reshape(mask, (ops.shape(mask)[0], -1)) for mask in masks]
        flat.append(_flat_mask(attention_mask, of_query, of_value))
        found = self._attend(_flat(query), _flat(value), _flat(key), flat, **options)
        outputs, scores = found if return_attention_scores else (found, None)
        outputs = ops.reshape(outputs, (ops.shape(outputs)[0], *of_query, outputs.shape[-1]))
        if scores is None:
            return outputs
        return outputs, ops.reshape(scores, (*ops.shape(scores)[:2], *of_query, *of_value))

    def _attend(
        self,
        query: Tensor,
        value: Tensor,
        key: Tensor,
        masks: TensorTree,
        is_causal: bool,
        returns_scores: bool,
        training: bool | None,
    ) -> TensorTree:
        """Attention over one axis, `[M*B, T, A]` to `[M*B, T, A]`."""
        queries = self.query(query, training=training)  # [M*B, T, heads, key_dim]
        keys = self._for_queries(self.key(key, training=training))  # [M*B, S, heads, key_dim]
        values = self._for_queries(self.value(value, training=training))
        scores = ops.einsum("bthd,bshd->bhts", queries / queries.shape[-1] ** 0.5, keys)
        scores = self._shares(scores, self._masks(queries, keys, masks, is_causal), returns_scores)
        dropped = self.score_dropout(scores, training=training)
        outputs = self.attention_output(ops.einsum("bhts,bshd->bthd", dropped, values), training=training)
        return (outputs, scores) if returns_scores else outputs

    def _shares(self, scores: Tensor, masks: list[Any], returns_scores: bool) -> TensorTree:
        """Returns the attention weights of each query.

        A fully masked query has equal weights for all keys. If Keras uses the scores themselves (for dropout, or to
        return them), the weights are 0, as in its `Softmax`.
        """
        if masks and (self.dropout or returns_scores):
            mask = reduce(ops.logical_and, masks)
            return keras.layers.Softmax(dtype=self.dtype_policy)(scores, mask=mask)
        for mask in masks:
            scores = ops.where(mask, scores, ops.cast(-3e4, scores.dtype))  # in the range of half precision
        return ops.softmax(scores, axis=-1)

    def _for_queries(self, heads: Tensor) -> Tensor:
        """Repeats heads of keys or values `[M*B, S, heads, D]` for groups of query heads."""
        queries, others, _, _ = self._heads()
        return heads if queries == others else ops.repeat(heads, queries // others, axis=2)

    @staticmethod
    def _masks(queries: Tensor, keys: Tensor, given: TensorTree, is_causal: bool) -> list[Any]:
        """Returns the masks of the scores `[M*B, heads, T, S]`, applied one after the other."""
        query_mask, value_mask, key_mask, attention_mask = given
        masks = [] if query_mask is None else [ops.cast(query_mask, "bool")[:, None, :, None]]
        masks += [ops.cast(mask, "bool")[:, None, None, :] for mask in (value_mask, key_mask) if mask is not None]
        if attention_mask is not None:
            attention_mask = ops.cast(attention_mask, "bool")
            masks.append(attention_mask if len(attention_mask.shape) == 4 else attention_mask[:, None])
        if is_causal:
            masks.append(ops.arange(ops.shape(queries)[1])[:, None] >= ops.arange(ops.shape(keys)[1]))
        return masks

    def compute_output_shape(
        self, query_shape: Shape, value_shape: Shape, key_shape: Shape | None = None
    ) -> TensorTree:
        return self.plain.compute_output_shape(query_shape, value_shape, key_shape)

    def compute_output_spec(self, *arguments: Any, **keywords: Any) -> Any:
        return self.plain.compute_output_spec(*arguments, **keywords)


def _check_axes(plain: keras.layers.Layer, query_shape: Shape, value_shape: Shape) -> None:
    """Raises a `ValueError` unless attention is over all axes between the batch axis and the last axis."""
    axes = plain.get_config().get("attention_axes")
    every = set(range(1, len(query_shape) - 1))
    over = every if axes is None else {axis % len(query_shape) for axis in np.atleast_1d(axes).tolist()}
    if len(query_shape) != len(value_shape) or not every or over != every:
        raise ValueError(
            "Attention of members must be over all axes between the batch axis and the last axis. "
            f"Received: query_shape={query_shape}, value_shape={value_shape}, attention_axes={axes}"
        )


def _flat(rows: Tensor) -> Tensor:
    """Reshapes inputs `[M*B, ..., A]` to `[M*B, T, A]`."""
    return ops.reshape(rows, (ops.shape(rows)[0], -1, rows.shape[-1]))


def _flat_mask(mask: Tensor, of_query: Tensor, of_value: Tensor) -> Tensor:
    """Reshapes a mask of scores `[M*B, (heads,) ..., ...]` to `[M*B, (heads,) T, S]`."""
    if mask is None:
        return None
    first = len(mask.shape) - len(of_query) - len(of_value)
    lengths = [reduce(ops.multiply, axes) for axes in (of_query, of_value)]
    return ops.reshape(mask, (*ops.shape(mask)[:first], *lengths))


@keras.saving.register_keras_serializable("keras_hyperens")
class HyperBatchMultiHeadAttention(HyperBatchAttention):
    """Multi-head attention with per-member projections conditioned on hyperparameters.

    The four projections are `HyperBatchEinsumDense` layers. Attention is computed per sample, and so per member.

    Args:
        num_heads, key_dim: As in `keras.layers.MultiHeadAttention`.
        kernel_l1, kernel_l2, bias_l1, bias_l2: L1 and L2 coefficients, shared by all projections.
        dropout: Dropout rate of the attention scores: name of a hyperparameter, or a number.
        **keywords: Arguments of `keras.layers.MultiHeadAttention`, of `HyperBatchLayer` and of `HyperLayer`.

    Input shape:
        Query `(M * batch_size, T, A)`, value and key `(M * batch_size, S, A)`, member by member. T and S may be several
        axes, over all of which attention is computed.

    Output shape:
        Tensor `(M * batch_size, T, A)`.

    Raises:
        ValueError: If `use_gate` or `sliding_window` is set, or attention is over some of several axes.

    Example:
    >>> import numpy as np
    >>> import keras_hyperens as khe
    >>> layer = khe.layers.HyperBatchMultiHeadAttention(2, 3, ensemble_size=4)
    >>> inputs = np.ones((4 * 2, 5, 6), "float32")
    >>> layer(inputs, inputs).shape
    TensorShape([8, 5, 6])
    """

    plain_layer = keras.layers.MultiHeadAttention

    def _heads(self) -> tuple[int, int, int, int]:
        config = self.plain.get_config()
        return config["num_heads"], config["num_heads"], config["key_dim"], config["value_dim"]

    def _output_units(self, query_shape: Shape) -> int:
        units = self.plain.get_config()["output_shape"]
        if units is None:
            return super()._output_units(query_shape)
        if isinstance(units, list | tuple) and len(units) > 1:
            raise ValueError(f"`output_shape` must be one number of units. Received: output_shape={units!r}")
        return units if isinstance(units, int) else units[0]


@keras.saving.register_keras_serializable("keras_hyperens")
class HyperBatchGroupQueryAttention(HyperBatchAttention):
    """Grouped-query attention with per-member projections conditioned on hyperparameters.

    As `HyperBatchMultiHeadAttention`, with fewer key-value heads than query heads.

    Args:
        head_dim, num_query_heads, num_key_value_heads: As in `keras.layers.GroupQueryAttention`.
        kernel_l1, kernel_l2, bias_l1, bias_l2: L1 and L2 coefficients, shared by all projections.
        dropout: Dropout rate of the attention scores: name of a hyperparameter, or a number.
        **keywords: Arguments of `keras.layers.GroupQueryAttention`, of `HyperBatchLayer` and of `HyperLayer`.

    Input shape:
        As in `HyperBatchMultiHeadAttention`.

    Output shape:
        Tensor `(M * batch_size, T, A)`.

    Raises:
        ValueError: If `use_gate` or `sliding_window` is set.

    Example:
    >>> import numpy as np
    >>> import keras_hyperens as khe
    >>> layer = khe.layers.HyperBatchGroupQueryAttention(3, 4, 2, ensemble_size=4)
    >>> inputs = np.ones((4 * 2, 5, 6), "float32")
    >>> layer(inputs, inputs).shape
    TensorShape([8, 5, 6])
    """

    plain_layer = keras.layers.GroupQueryAttention

    def _heads(self) -> tuple[int, int, int, int]:
        config = self.plain.get_config()
        return config["num_query_heads"], config["num_key_value_heads"], config["head_dim"], config["head_dim"]
