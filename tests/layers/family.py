"""Every layer: how to make it, a batch of rows for it, and, if it has kernels, its equations written by hand."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_hyperens import layers
from tests.layers.contract import M
from tests.layers.contract import members
from tests.layers.oracle import position


@dataclass(frozen=True)
class Case:
    """A layer of the family."""

    type: type
    row: tuple[int, ...]
    arguments: dict[str, Any]
    equations: tuple[str, ...]  # of each part: kernel, fan-in factors, unit factors -> member kernel
    plain_order: Any = None  # from the parts' weights to the plain layer's
    indices: int = 0  # rows are indices below this number
    inputs: int = 1
    reverse: bool = False  # call it on its outputs too, with `reverse=True`

    def make(self, **arguments):
        return self.type(**{**members(), **self.arguments, **arguments})

    def rows(self, number, seed=0):
        generator = np.random.default_rng(seed)
        if self.indices:
            return generator.integers(0, self.indices, (number, *self.row))
        return generator.normal(size=(number, *self.row)).astype("float32")

    def call(self, layer, rows, **arguments):
        outputs = layer(*[rows] * self.inputs, **arguments)
        return layer(outputs, reverse=True, **arguments) if self.reverse else outputs


def parts_of(layer):
    return getattr(layer, "parts", None) or [layer]


def lstm_order(weights):
    kernel, bias, recurrent = weights
    return [kernel, recurrent, bias]


def gru_order(weights):
    kernel, bias, recurrent, recurrent_bias = weights
    return [kernel, recurrent, np.stack([bias, recurrent_bias])]


SEQUENCE, IMAGE, VOLUME = (6, 3), (6, 5, 3), (3, 4, 3, 2)
L2 = {"kernel_l2": "l2", "bias_l2": "l2"}
SEPARABLE = {"depthwise_l2": "l2", "pointwise_l2": 0.1, "bias_l2": "l2"}
RECURRENT = {"kernel_l2": "l2", "recurrent_l2": ("l2", 0.5), "bias_l2": 0.1}
PROJECTIONS = ("cde,c,de->cde",) * 3 + ("dec,de,c->dec",)
FAMILY = {
    "dense": Case(layers.HyperBatchDense, (4,), {"units": 5, "activation": "tanh", **L2}, ("ab,a,b->ab",)),
    "dense, L1": Case(layers.HyperBatchDense, (4,), {"units": 5, "kernel_l1": "l2", "bias_l1": 0.2}, ("ab,a,b->ab",)),
    "einsum": Case(
        layers.HyperBatchEinsumDense, (4, 3),
        {"equation": "abc,cde->abde", "output_shape": (None, 2, 5), "bias_axes": "de", **L2}, ("cde,c,de->cde",),
    ),
    "einsum of two axes": Case(
        layers.HyperBatchEinsumDense, (4, 2, 3),
        {"equation": "abcd,cde->abe", "output_shape": (None, 5), "bias_axes": "e", **L2}, ("cde,cd,e->cde",),
    ),
    "einsum, crossed": Case(
        layers.HyperBatchEinsumDense, (4, 2, 3),
        {"equation": "abcd,edc->aeb", "output_shape": (5, 4), "kernel_l2": "l2"}, ("edc,dc,e->edc",),
    ),
    "einsum, an axis of all": Case(
        layers.HyperBatchEinsumDense, (2, 3),
        {"equation": "abc,bcd->abd", "output_shape": (2, 4), "bias_axes": "bd", **L2}, ("bcd,bc,bd->bcd",),
    ),
    "einsum, ellipsis": Case(
        layers.HyperBatchEinsumDense, (4, 3),
        {"equation": "...x,xy->...y", "output_shape": 5, "bias_axes": "y", **L2}, ("xy,x,y->xy",),
    ),
    "conv 1d, causal": Case(
        layers.HyperBatchConv1D, SEQUENCE,
        {"filters": 4, "kernel_size": 3, "padding": "causal", "dilation_rate": 2, **L2}, ("xab,a,b->xab",),
    ),
    "conv 2d": Case(
        layers.HyperBatchConv2D, IMAGE, {"filters": 4, "kernel_size": (3, 2), "strides": 2, "padding": "same", **L2},
        ("xyab,a,b->xyab",),
    ),
    "conv 2d, groups": Case(
        layers.HyperBatchConv2D, (6, 5, 4), {"filters": 6, "kernel_size": 2, "groups": 2, **L2}, ("xyab,a,b->xyab",)
    ),
    "conv 3d": Case(layers.HyperBatchConv3D, VOLUME, {"filters": 4, "kernel_size": 2, **L2}, ("xyzab,a,b->xyzab",)),
    "conv 1d, transposed": Case(
        layers.HyperBatchConv1DTranspose, SEQUENCE, {"filters": 4, "kernel_size": 3, "strides": 2, **L2},
        ("xba,a,b->xba",),
    ),
    "conv 2d, transposed": Case(
        layers.HyperBatchConv2DTranspose, IMAGE,
        {"filters": 4, "kernel_size": 3, "strides": 2, "padding": "same", **L2}, ("xyba,a,b->xyba",),
    ),
    "conv 3d, transposed": Case(
        layers.HyperBatchConv3DTranspose, VOLUME, {"filters": 4, "kernel_size": 2, **L2}, ("xyzba,a,b->xyzba",)
    ),
    "depthwise 1d": Case(
        layers.HyperBatchDepthwiseConv1D, SEQUENCE, {"kernel_size": 3, "depth_multiplier": 2, **L2},
        ("xad,a,ad->xad",),
    ),
    "depthwise 2d": Case(
        layers.HyperBatchDepthwiseConv2D, IMAGE,
        {"kernel_size": 3, "depth_multiplier": 2, "strides": 2, "padding": "same", **L2}, ("xyad,a,ad->xyad",),
    ),
    "separable 1d": Case(
        layers.HyperBatchSeparableConv1D, SEQUENCE, {"filters": 4, "kernel_size": 3, **SEPARABLE},
        ("xad,a,ad->xad", "xab,a,b->xab"),
    ),
    "separable 2d": Case(
        layers.HyperBatchSeparableConv2D, IMAGE,
        {"filters": 4, "kernel_size": 3, "padding": "same", "activation": "relu", **SEPARABLE},
        ("xyad,a,ad->xyad", "xyab,a,b->xyab"),
    ),
    "embedding": Case(
        layers.HyperBatchEmbedding, (5,), {"input_dim": 9, "output_dim": 4, "kernel_l2": "l2"}, ("ab,a,b->ab",),
        indices=9,
    ),
    "reversible embedding": Case(
        layers.HyperBatchReversibleEmbedding, (5,),
        {"input_dim": 9, "output_dim": 4, "logit_soft_cap": 5.0, "kernel_l2": "l2"}, ("ab,a,b->ab",), indices=9,
        reverse=True,
    ),
    "lstm": Case(
        layers.HyperBatchLSTM, SEQUENCE, {"units": 4, **RECURRENT}, ("ab,a,b->ab",) * 2, plain_order=lstm_order
    ),
    "lstm of sequences, backwards": Case(
        layers.HyperBatchLSTM, SEQUENCE,
        {"units": 4, "return_sequences": True, "go_backwards": True, "use_bias": False, "kernel_l2": "l2"},
        ("ab,a,b->ab",) * 2,
    ),
    "gru": Case(layers.HyperBatchGRU, SEQUENCE, {"units": 4, **RECURRENT}, ("ab,a,b->ab",) * 2, plain_order=gru_order),
    "gru, reset before": Case(
        layers.HyperBatchGRU, SEQUENCE, {"units": 4, "reset_after": False, **RECURRENT}, ("ab,a,b->ab",) * 2,
        plain_order=lstm_order,
    ),
    "conv lstm 1d": Case(
        layers.HyperBatchConvLSTM1D, (3, 5, 2),
        {"filters": 4, "kernel_size": 3, "go_backwards": True, "unit_forget_bias": False, **RECURRENT},
        ("xab,a,b->xab",) * 2, plain_order=lstm_order,
    ),
    "conv lstm 2d": Case(
        layers.HyperBatchConvLSTM2D, (3, 6, 5, 2),
        {"filters": 4, "kernel_size": (3, 2), "strides": 2, "padding": "same", "return_sequences": True, **RECURRENT},
        ("xyab,a,b->xyab",) * 2, plain_order=lstm_order,
    ),
    "conv lstm 3d": Case(
        layers.HyperBatchConvLSTM3D, (2, *VOLUME),
        {"filters": 3, "kernel_size": 2, "use_bias": False, "kernel_l2": "l2"},
        ("xyzab,a,b->xyzab",) * 2,
    ),
    "attention": Case(
        layers.HyperBatchMultiHeadAttention, SEQUENCE, {"num_heads": 2, "key_dim": 4, "value_dim": 3, **L2},
        PROJECTIONS, inputs=2,
    ),
    "attention over two axes": Case(
        layers.HyperBatchMultiHeadAttention, (2, 3, 5), {"num_heads": 2, "key_dim": 4, **L2}, PROJECTIONS, inputs=2
    ),
    "grouped-query attention": Case(
        layers.HyperBatchGroupQueryAttention, SEQUENCE,
        {"head_dim": 4, "num_query_heads": 4, "num_key_value_heads": 2, **L2}, PROJECTIONS, inputs=2,
    ),
}  # fmt: skip

# One of each kind with the unit tests; its relatives, which share nearly all of the code, with the others.
RELATIVES = (
    *(
        "einsum of two axes",
        "einsum, crossed",
        "conv 2d, groups",
        "conv 3d",
        "conv 1d, transposed",
        "conv 3d, transposed",
    ),
    *("depthwise 1d", "separable 1d", "lstm of sequences, backwards", "gru, reset before", "grouped-query attention"),
    *("attention over two axes", "embedding", "conv lstm 1d", "conv lstm 2d", "conv lstm 3d"),
)
OTHERS = {  # without kernels: how to make one, and the shape of a row
    "dropout": (lambda: layers.HyperDropout("rate", seed=1, **members()), (6,)),
    "noise": (lambda: layers.HyperGaussianNoise("rate", seed=0, **members()), (5,)),
    "gaussian dropout": (lambda: layers.HyperGaussianDropout("rate", seed=0, **members()), (5,)),
    "spatial dropout 1d": (lambda: layers.HyperSpatialDropout1D("rate", seed=0, **members()), (5, 2)),
    "spatial dropout 2d": (lambda: layers.HyperSpatialDropout2D("rate", seed=0, **members()), (5, 4, 2)),
    "spatial dropout 3d": (lambda: layers.HyperSpatialDropout3D("rate", seed=0, **members()), (5, 4, 3, 2)),
    "batch normalization": (lambda: layers.MemberBatchNormalization(ensemble_size=M), (5,)),
    "group normalization": (lambda: layers.MemberGroupNormalization(2, ensemble_size=M), (3, 4)),
    "rms normalization": (lambda: layers.MemberRMSNormalization(ensemble_size=M), (5,)),
    "layer normalization": (lambda: layers.MemberLayerNormalization(ensemble_size=M), (5,)),
}


def weights_at(case, layer, member, values):
    """The plain layer's weights of one member at one row's values `[P]`, by the equations of DESIGN in NumPy."""
    z = position(layer.space, values)
    weights = []
    for part, equation in zip(parts_of(layer), case.equations, strict=True):
        weights.append(kernel_at(part, equation, member, z))
        if part.use_bias:
            shift = z @ np.asarray(part.bias_embedding)
            bias = np.asarray(part.bias)[member] + np.asarray(part.delta_bias)[member] * shift
            weights.append(bias.reshape(part._bias_shape()))
    return case.plain_order(weights) if case.plain_order else weights


def kernel_at(part, equation, member, z, factors=True):
    kernel, fan_in, units = equation.split("->")[0].split(",")
    lengths = dict(zip(kernel, part.kernel.shape))

    def multiplied(shared, of_fan_in, of_units):
        vectors = [
            np.reshape(vector if factors else np.ones_like(vector), [lengths[letter] for letter in letters])
            for vector, letters in ((of_fan_in, fan_in), (of_units, units))
        ]
        return np.einsum(equation, shared, *vectors)

    shift = z @ np.asarray(part.kernel_embedding)
    r, s, u, v = (np.asarray(weight)[member] for weight in (part.r, part.s, part.u, part.v))
    fixed = multiplied(np.asarray(part.kernel), r, s)
    shift_of_kernel = np.reshape(shift, [lengths[letter] if letter in units else 1 for letter in kernel])
    if [letter for letter in kernel if letter in units] != list(units):
        raise AssertionError("an equation must name units in the kernel's order")
    return fixed + multiplied(np.asarray(part.delta_kernel), u, v) * shift_of_kernel


def penalty_at(case, layer, member, values):
    """The penalty of one member at one row's values."""
    named = dict(zip(layer.space.names, values))
    z, total = position(layer.space, values), 0.0
    for part, equation in zip(parts_of(layer), case.equations, strict=True):
        kernel = kernel_at(part, equation, member, z, factors=False)
        bias = 0.0
        if part.use_bias:
            bias = part.bias[member] + part.delta_bias[member] * (z @ np.asarray(part.bias_embedding))
        for role, weight in (("kernel", kernel), ("bias", np.asarray(bias))):
            for norm, size in (("l1", np.abs(weight).sum()), ("l2", np.square(weight).sum())):
                setting = getattr(part, f"{role}_{norm}", None)
                name, number = setting if isinstance(setting, tuple) else (setting, 1.0)
                strength = number * named[name] if isinstance(name, str) else name
                total += (strength or 0.0) * size
    return total


def plain_layer(layer):
    """The plain Keras layer with the same arguments, without penalties."""
    return type(layer.plain).from_config(layer.plain.get_config())


def plain_like(case, rows):
    """A plain layer of the case with L2 penalties at 0.01, built."""
    names = {
        f"{role}_{norm}" for role in ("kernel", "bias", "depthwise", "pointwise", "recurrent") for norm in ("l1", "l2")
    }
    arguments = {name: value for name, value in case.arguments.items() if name not in names}
    roles = {name: keras.regularizers.L2(0.01) for name in case.type.roles.values() if name != "bias"}
    plain = case.type.plain_layer(**arguments, **{f"{name}_regularizer": value for name, value in roles.items()})
    case.call(plain, rows)
    generator = np.random.default_rng(3)
    plain.set_weights([generator.normal(size=weight.shape) for weight in plain.get_weights()])
    return plain
