"""How much a training step computes, in operations of the traced graph: what would grow unseen on a fast machine."""

from collections import Counter
from functools import cache
from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_hyperens as khe

M = 3
CONVOLUTIONS = ("Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter")


def build_model(hp):
    l2, rate = hp.Float("l2", 1e-6, 1e-2, sampling="log"), hp.Float("dropout", 0.1, 0.5)
    penalty = {"kernel_regularizer": keras.regularizers.L2(l2)}
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, activation="relu", **penalty),
            keras.layers.Conv2D(5, 3, activation="relu", **penalty),
            keras.layers.Flatten(),
            keras.layers.Dropout(rate),
            keras.layers.Dense(6, activation="relu", **penalty),
            keras.layers.Dense(2, **penalty),
        ]
    )
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


@cache
def operations(sampling, rows, tuning=False):
    """Numbers of operations of each type in a step, and those in its condition."""
    ensemble = khe.HyperBatchEnsemble.from_hypermodel(build_model, ensemble_size=M, seed=0)
    ensemble.compile(
        "sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), sampling=sampling, tuning_every=2
    )
    x, y = np.zeros((rows, 8, 8, 3), "float32"), np.zeros(rows, "int64")
    if tuning:
        ensemble.run_eagerly = True  # only its tuning samples are needed
        ensemble.fit(x, y, batch_size=rows, tuning_data=(x, y), verbose=0)
    else:
        ensemble._trainer.build(tf.TensorSpec((None, 8, 8, 3)))
    step = tf.function(lambda: ensemble.train_step((x, y)), autograph=False).get_concrete_function()
    inner = [executed(function) for function in step.graph.as_graph_def().library.function]
    return executed(step.function_def), sum(inner, Counter())


def executed(function):
    """The operations of a function that its results or its side effects need; TensorFlow runs no others."""
    nodes = {node.name: node for node in function.node_def}
    waiting, needed = [*function.ret.values(), *function.control_ret.values()], {}
    while waiting:
        name = waiting.pop().lstrip("^").split(":")[0]
        if name in nodes and name not in needed:
            needed[name] = nodes[name].op
            waiting += nodes[name].input
    return Counter(needed.values())


@pytest.mark.parametrize(("sampling", "times"), [("member", 1), ("example", 2)])
def test_a_step_has_each_members_convolutions_once_or_with_draws_by_row_twice(sampling, times):
    counts, _ = operations(sampling, rows=4)
    # Two layers forwards, two gradients of kernels, one of inputs: the images need none.
    assert [counts[name] for name in CONVOLUTIONS] == [2 * M * times, M * times, 2 * M * times]


def test_dense_layers_multiply_twice_for_few_rows_and_once_for_each_member_for_many():
    few, _ = operations("member", rows=4)
    many, _ = operations("member", rows=128)
    # Two layers, both terms, forwards and for the gradients of kernels and inputs; two products for the draw's terms
    # of each layer (kernel and bias), forwards and backwards; four for each outer product of the folded convolutions.
    assert few["MatMul"] + few["BatchMatMulV2"] <= 2 * 2 * 3 + 4 * 2 * 2 + 2 * M * 2 * 4
    assert many["MatMul"] + many["BatchMatMulV2"] <= 2 * M * 3 + 4 * 2 * 2 + 4 * M * 2 * 4


@pytest.mark.integration
def test_tuning_is_one_forward_and_one_backward_pass_inside_a_condition():
    counts, inner = operations("member", rows=4, tuning=True)
    assert counts["If"] + counts["StatelessIf"] == 2  # the other one: an update of weights that are not all finite
    assert [counts[name] for name in CONVOLUTIONS] == [2 * M, M, 2 * M]
    # Bounds need the gradients of all kernels.
    assert [inner[name] for name in CONVOLUTIONS] == [2 * M, M, 2 * M]
    assert inner["ResourceGather"] + inner["GatherV2"] >= 2  # rows of the tuning set are read there and nowhere else


@pytest.mark.integration
def test_the_number_of_operations_grows_with_members_no_faster_than_they_do():
    sizes = []
    for members in (2, 3, 5):
        ensemble = khe.HyperBatchEnsemble.from_hypermodel(build_model, ensemble_size=members, seed=0)
        ensemble.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        ensemble._trainer.build(tf.TensorSpec((None, 8, 8, 3)))
        data = (np.zeros((4, 8, 8, 3), "float32"), np.zeros(4, "int64"))
        step = tf.function(partial(ensemble.train_step, data), autograph=False).get_concrete_function()
        sizes.append(len(step.graph.get_operations()))
    assert sizes[2] - sizes[1] <= 2.1 * (sizes[1] - sizes[0])


@pytest.mark.integration
def test_a_step_is_traced_once_with_metrics_too():
    """They have their variables before the first step: TensorFlow traces a step that makes some a second time."""
    ensemble = khe.HyperBatchEnsemble.from_hypermodel(build_model, ensemble_size=M, seed=0)
    ensemble.compile(
        "adam",
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        weighted_metrics=["sparse_categorical_crossentropy"],
        member_metrics=[khe.metrics.Disagreement()],
    )
    x, y, traced, train_step = np.zeros((8, 8, 8, 3), "float32"), np.zeros(8, "int64"), [], ensemble.train_step
    ensemble.train_step = lambda data: traced.append(data) or train_step(data)
    ensemble.fit(x, y, batch_size=4, epochs=2, tuning_data=(x, y), verbose=0)
    assert len(traced) == 1
