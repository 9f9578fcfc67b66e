"""The equations of DESIGN, member by member and row by row, with nothing shared with the layers but their variables."""

import numpy as np
import tensorflow as tf


def position(space, values):
    """z of one row's values `[P]`."""
    z = []
    for entry, value in zip(space, values):
        if entry.sampling == "log":
            z.append(
                2 * (np.log(value) - np.log(entry.min_value)) / (np.log(entry.max_value) - np.log(entry.min_value)) - 1
            )
        else:
            z.append(2 * (value - entry.min_value) / (entry.max_value - entry.min_value) - 1)
    return np.array(z, "float32")


def embedding(table, z, member):
    table = table.value if len(table.shape) == 2 else table.value[member]
    return tf.linalg.matvec(table, z, transpose_a=True)


def kernel(layer, member, z, factors=True):
    one = tf.ones_like
    r, s = (layer.r.value[member], layer.s.value[member])
    if not factors:
        r, s = one(r), one(s)
    result = layer.kernel.value * tf.einsum("a,u->au", r, s)
    if z is None:
        return result
    u, v = (layer.u.value[member], layer.v.value[member])
    if not factors:
        u, v = one(u), one(v)
    delta = layer.delta_kernel.value * tf.einsum("a,u->au", u, v)
    return result + delta * embedding(layer.kernel_embedding, z, member)


def bias(layer, member, z):
    if z is None:
        return layer.bias.value[member]
    return layer.bias.value[member] + layer.delta_bias.value[member] * embedding(layer.bias_embedding, z, member)


def outputs_and_penalty(layer, rows, values, apply):
    """What the layer must give for rows `[M*B, ...]` and values `[M, 1 or B, P]`.

    `apply(row, kernel, bias)` is the plain operation on a batch of one row.
    """
    members, draws = values.shape[:2]
    batch = rows.shape[0] // members
    outputs, penalties = [], []
    for k in range(members):
        for b in range(batch):
            value = values[k, b if draws > 1 else 0]
            z = position(layer.space, value) if len(layer.space) else None
            row = rows[k * batch + b : k * batch + b + 1]
            the_bias = bias(layer, k, z) if layer.use_bias else None
            outputs.append(apply(row, kernel(layer, k, z), the_bias))
            penalty = tf.constant(0.0)
            if layer.kernel_l2 is not None:
                norm = tf.reduce_sum(kernel(layer, k, z, layer.regularize_fast_weights) ** 2)
                penalty += strength(layer, layer.kernel_l2, value) * norm
            if layer.bias_l2 is not None and layer.use_bias:
                penalty += strength(layer, layer.bias_l2, value) * tf.reduce_sum(the_bias**2)
            penalties.append(penalty)
    return tf.concat(outputs, 0), sum(penalties) / len(penalties)


def strength(layer, setting, value):
    return value[layer.space.names.index(setting)] if isinstance(setting, str) else setting
