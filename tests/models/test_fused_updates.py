"""Either fused and equal to Keras, or untouched."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_hyperens.models.training.fused_updates import fused_updates

SHAPES = [(3, 4), (5,), ()]
FUSED = {
    "sgd": lambda: keras.optimizers.SGD(0.1),
    "momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "nesterov": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "adam": lambda: keras.optimizers.Adam(0.01, beta_1=0.8, beta_2=0.99, epsilon=1e-4),
    "adamw": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1),
    "schedule": lambda: keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.02, 20)),
    "clipped": lambda: keras.optimizers.Adam(0.01, clipnorm=0.1),
    "all clipped": lambda: keras.optimizers.SGD(0.1, global_clipnorm=0.1),
    "averaged": lambda: keras.optimizers.Adam(0.01, use_ema=True, ema_overwrite_frequency=3),
    "accumulated": lambda: keras.optimizers.Adam(0.01, gradient_accumulation_steps=4),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01), dynamic_growth_steps=5),
}
PLAIN = {
    "amsgrad": lambda: keras.optimizers.Adam(0.01, amsgrad=True),
    **{
        name: getattr(keras.optimizers, name)
        for name in ("RMSprop", "Adagrad", "Adadelta", "Adamax", "Nadam", "Ftrl", "Lion", "Lamb", "Adafactor")
    },
    "subclass": type("Mine", (keras.optimizers.Adam,), {}),
}
KERNELS = {"ResourceApplyAdam", "ResourceApplyGradientDescent", "ResourceApplyKerasMomentum"}


def kernels(function):
    """The fused operations in the graph of a function, in its branches too."""
    graph = function.get_concrete_function().graph.as_graph_def()
    nodes = [*graph.node, *(node for each in graph.library.function for node in each.node_def)]
    return [node.op for node in nodes if node.op in KERNELS]


def trained(make, fused, dtype="float32", steps=20, jit_compile=False):
    """Variables of the network and of the optimizer after some steps, and the fused operations of a step."""
    generator = np.random.default_rng(0)
    variables = [keras.Variable(generator.normal(size=shape), dtype=dtype) for shape in SHAPES]
    batches = tf.constant([generator.normal() for _ in range(steps)], dtype)
    optimizer = make()
    optimizer.build(variables)
    number = tf.Variable(0)

    @tf.function(jit_compile=jit_compile, autograph=False)
    def step():
        with tf.GradientTape() as tape:
            values = [tf.convert_to_tensor(variable) for variable in variables]
            tape.watch(values)
            loss = tf.add_n([tf.reduce_sum((value - batches[number]) ** 4) for value in values])
            scaled = optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, values)
        if fused:
            with fused_updates(optimizer):
                optimizer.apply_gradients(zip(gradients, variables))
        else:
            optimizer.apply_gradients(zip(gradients, variables))
        number.assign_add(1)

    for _ in range(steps):
        step()
    assert "update_step" not in vars(getattr(optimizer, "inner_optimizer", optimizer))
    return [np.array(variable) for variable in (*variables, *optimizer.variables)], kernels(step)


@pytest.mark.parametrize("name", FUSED)
def test_fused_updates_equal_those_of_keras(name):
    (ours, used), (theirs, _) = trained(FUSED[name], True), trained(FUSED[name], False)
    assert len(used) == len(SHAPES)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=2e-5, atol=5e-6)


@pytest.mark.parametrize("name", PLAIN)
def test_others_are_left_as_they_are(name):
    (ours, used), (theirs, _) = trained(PLAIN[name], True, steps=3), trained(PLAIN[name], False, steps=3)
    assert not used
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine, other)


def test_double_precision_is_fused_and_half_precision_is_not():
    (ours, used), (theirs, _) = (trained(FUSED["adam"], fused, "float64") for fused in (True, False))
    assert len(used) == len(SHAPES)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-6, atol=1e-9)
    assert not trained(FUSED["adam"], True, "bfloat16", steps=1)[1]


@pytest.mark.integration
@pytest.mark.parametrize("name", ["momentum", "adamw", "scaled"])
def test_by_xla(name):
    ours, theirs = (trained(FUSED[name], fused, jit_compile=True)[0] for fused in (True, False))
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=2e-5, atol=5e-6)


def test_a_gradient_of_some_rows_is_the_business_of_keras():
    results = []
    for fused in (True, False):
        table = keras.Variable(np.ones((4, 2)), dtype="float32")
        optimizer = keras.optimizers.Adam(0.1)
        optimizer.build([table])
        gradient = tf.IndexedSlices(tf.ones((2, 2)), tf.constant([0, 2]), tf.constant([4, 2]))
        if fused:
            with fused_updates(optimizer):
                optimizer.apply_gradients([(gradient, table)])
        else:
            optimizer.apply_gradients([(gradient, table)])
        results.append(np.array(table))
    np.testing.assert_array_equal(*results)


def test_two_replicas_are_the_business_of_keras():
    variable = keras.Variable(np.ones(3), dtype="float32")
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build([variable])
    with tf.distribute.OneDeviceStrategy("CPU:0").scope(), fused_updates(optimizer):
        assert "update_step" not in vars(optimizer)
