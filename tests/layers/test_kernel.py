"""The layers against the equations, for every layer with a kernel and both ways of drawing."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_hyperens as khe
from tests.layers import oracle
from tests.layers.contract import B
from tests.layers.contract import M
from tests.layers.contract import draw
from tests.layers.contract import layer_contract
from tests.layers.contract import members
from tests.layers.contract import randomize
from tests.layers.contract import space


def dense(**arguments):
    return khe.HyperBatchDense(5, **{**members(), **arguments})


def conv(**arguments):
    return khe.HyperBatchConv2D(5, (3, 2), **{**members(), **arguments})


def apply_dense(row, kernel, bias):
    result = row @ kernel
    return tf.nn.tanh(result if bias is None else result + bias)


def apply_conv(**plain):
    def apply(row, kernel, bias):
        layer = keras.layers.Conv2D(5, (3, 2), use_bias=False, **plain)
        layer.build(row.shape)
        first = plain.get("data_format") == "channels_first"
        convolution = keras.ops.conv(row, kernel, layer.strides, layer.padding, layer.data_format, layer.dilation_rate)
        if bias is not None:
            convolution += bias[:, None, None] if first else bias
        return tf.nn.tanh(convolution)

    return apply


CASES = {
    "dense": (dense, (4,), apply_dense, {}),
    "dense of rank 4": (dense, (2, 3, 4), lambda row, k, b: tf.nn.tanh(tf.tensordot(row, k, 1) + b), {}),
    "dense without bias": (dense, (4,), apply_dense, {"use_bias": False}),
    "dense, tied": (dense, (4,), apply_dense, {"tie_fast_weights": True}),
    "dense, own embeddings": (dense, (4,), apply_dense, {"shared_embedding": False}),
    "dense, factors penalized": (dense, (4,), apply_dense, {"regularize_fast_weights": True}),
    "dense, fixed strength": (dense, (4,), apply_dense, {"kernel_l2": 0.3}),
    "dense, no hyperparameters": (
        dense, (4,), apply_dense, {"space": None, "kernel_l2": 0.3, "bias_l2": 0.1}
    ),
    "dense, no hyperparameters, factors penalized": (
        dense, (4,), apply_dense,
        {"space": None, "kernel_l2": 0.3, "bias_l2": None, "regularize_fast_weights": True},
    ),
    "conv": (conv, (6, 7, 3), apply_conv(), {}),
    "conv, factors penalized": (conv, (6, 7, 3), apply_conv(), {"regularize_fast_weights": True}),
    "conv, strides": (conv, (6, 7, 3), apply_conv(strides=2, padding="same"), {"strides": 2, "padding": "same"}),
    "conv, dilation": (conv, (8, 8, 3), apply_conv(dilation_rate=2), {"dilation_rate": 2}),
    "conv, channels first": (
        conv, (3, 6, 7), apply_conv(data_format="channels_first"), {"data_format": "channels_first"}
    ),
}  # fmt: skip


FORMS = [
    (case, form) for case in CASES for form in ("folded", "unfolded") if form == "folded" or case.startswith("dense")
]  # convolutions always fold


@pytest.mark.parametrize("draws", [1, B], ids=["one draw per member", "one draw per row"])
@pytest.mark.parametrize(("case", "form"), FORMS, indirect=["form"])
def test_outputs_penalties_and_gradients_equal_the_equations(case, draws, form):
    make, row_shape, apply, arguments = CASES[case]
    layer = make(**{"activation": "tanh", "kernel_l2": "l2", "bias_l2": "l2", **arguments})
    layer.build((None, *row_shape))
    randomize(layer)
    rows = tf.constant(np.random.default_rng(1).normal(size=(M * B, *row_shape)).astype("float32"))
    values = draw(draws)
    weights = [weight.value for weight in layer.trainable_weights]
    with tf.GradientTape() as tape, khe.hyperparameter_scope(values):
        tape.watch(rows)
        outputs = layer(rows, training=True)
        penalty = sum(layer.losses)
        total = tf.reduce_sum(outputs * tf.sin(outputs)) + 10 * penalty
    gradients = tape.gradient(total, [rows, *weights])
    with tf.GradientTape() as tape:
        tape.watch(rows)
        expected, expected_penalty = oracle.outputs_and_penalty(layer, rows, values, apply)
        total = tf.reduce_sum(expected * tf.sin(expected)) + 10 * expected_penalty
    expected_gradients = tape.gradient(total, [rows, *weights])
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(penalty, expected_penalty, rtol=1e-4)
    for weight, gradient, wanted in zip(["rows", *layer.trainable_weights], gradients, expected_gradients):
        np.testing.assert_allclose(gradient, wanted, rtol=1e-4, atol=1e-4, err_msg=str(weight))


@pytest.mark.parametrize("case", ["dense", "conv", "conv, channels first"])
def test_equal_draws_for_all_rows_equal_one_draw_for_the_member(case):
    make, row_shape, _, arguments = CASES[case]
    layer = make(kernel_l2="l2", **arguments)
    rows = np.random.default_rng(1).normal(size=(M * B, *row_shape)).astype("float32")
    per_member = draw(1)
    results = []
    for values in (per_member, np.repeat(per_member, B, axis=1)):
        with khe.hyperparameter_scope(values):
            results.append((layer(rows, training=True), sum(layer.losses)))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-5)


PLAIN = {
    "dense": (dense, (2, 4), keras.layers.Dense(5, activation="relu", kernel_regularizer=keras.regularizers.L2(1e-2))),
    "conv": (
        conv, (6, 7, 3),
        keras.layers.Conv2D(5, (3, 2), activation="relu", kernel_regularizer=keras.regularizers.L2(1e-2)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PLAIN)
def test_one_member_with_trivial_factors_is_the_plain_layer(case):
    make, row_shape, plain = PLAIN[case]
    layer = make(
        ensemble_size=1, activation="relu", kernel_l2="l2", fast_weight_initializer="ones",
        delta_kernel_initializer="zeros",
    )  # fmt: skip
    rows = tf.constant(np.random.default_rng(1).normal(size=(B, *row_shape)).astype("float32"))
    values = np.array([[[1e-2, 0.3]]], "float32")
    layer.build(rows.shape)
    plain.build(rows.shape)
    plain.set_weights([np.asarray(layer.kernel), np.asarray(layer.bias)[0]])
    results = []
    for each, weights in ((layer, [layer.kernel, layer.bias]), (plain, [plain.kernel, plain.bias])):
        with tf.GradientTape() as tape, khe.hyperparameter_scope(values):
            outputs = each(rows, training=True)
            total = tf.reduce_sum(outputs**2) + sum(each.losses)
        results.append((outputs, sum(each.losses), *tape.gradient(total, [weight.value for weight in weights])))
    for left, right in zip(*results):
        np.testing.assert_allclose(tf.reshape(left, right.shape), right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", ["dense, own embeddings", "dense, no hyperparameters"])
def test_contract(case):
    make, row_shape, _, arguments = CASES[case]
    layer_contract(lambda: make(**{"kernel_l2": "l2", **arguments}), row_shape)


@pytest.mark.parametrize("case", ["dense", "conv"])
def test_a_member_taken_out_predicts_what_it_predicted(case):
    make, row_shape, _, _ = CASES[case]
    layer = make(kernel_l2="l2", bias_l2=0.5, activation="relu")
    layer.build((None, *row_shape))
    randomize(layer)
    rows = np.random.default_rng(1).normal(size=(M * B, *row_shape)).astype("float32")
    values = draw(1)
    with khe.hyperparameter_scope(values):
        outputs = layer(rows)
    for k in range(M):
        plain = layer.member_layer({"l2": 0.25, "rate": 0.5})
        plain.build((None, *row_shape))
        plain.set_weights(layer.member_weights(k, values))
        assert type(plain) is layer.plain_layer
        assert plain.kernel_regularizer.l2 == 0.25 and plain.bias_regularizer.l2 == 0.5
        np.testing.assert_allclose(plain(rows[k * B : (k + 1) * B]), outputs[k * B : (k + 1) * B], rtol=1e-4, atol=1e-4)


def test_at_the_centers_nothing_is_shifted():
    layer = dense(kernel_l2="l2", bias_l2="l2")
    layer.build((None, 4))
    randomize(layer)
    rows, values = np.ones((M * B, 4), "float32"), draw(1)
    with khe.hyperparameter_scope(values, values):
        there = layer(rows)
    for delta in (layer.delta_kernel, layer.delta_bias):
        delta.assign(np.zeros(delta.shape))
    with khe.hyperparameter_scope(values):
        np.testing.assert_allclose(layer(rows), there, rtol=1e-5)


def test_penalties_only_in_training():
    layer = dense(kernel_l2="l2", bias_l2="l2")
    with khe.hyperparameter_scope(draw(1)):
        layer(np.ones((M * B, 4), "float32"), training=False)
        assert layer.losses == []
        layer(np.ones((M * B, 4), "float32"))
        assert layer.losses == []
        layer(np.ones((M * B, 4), "float32"), training=True)
        assert len(layer.losses) == 2


def test_a_layer_used_twice_has_its_penalty_once():
    layer = dense(kernel_l2="l2", bias_l2="l2")
    inputs = keras.Input((5,))
    once, twice = (keras.Model(inputs, outputs) for outputs in (layer(inputs), layer(layer(inputs))))
    totals = []
    for network in (once, twice, once):
        with khe.hyperparameter_scope(draw(1)):
            network(np.ones((M * B, 5), "float32"), training=True)
        totals.append(float(sum(network.losses)))
    assert totals[0] == totals[1] == totals[2] > 0


def test_double_precision():
    keras.config.set_floatx("float64")
    try:
        layer = dense(kernel_l2="l2", dtype="float64")
        for values in (draw(1), draw(B)):
            with khe.hyperparameter_scope(values):
                assert layer(np.ones((M * B, 4)), training=True).dtype == "float64"
    finally:
        keras.config.set_floatx("float32")


def test_a_tiny_strength_survives_mixed_precision():
    layer = dense(kernel_l2=1e-8, dtype="mixed_float16", kernel_initializer="ones")
    with khe.hyperparameter_scope(draw(1)):
        layer(np.ones((M * B, 4), "float32"), training=True)
    assert layer.losses[0].dtype == "float32" and 1e-7 < float(layer.losses[0]) < 1e-6


def test_every_weight_starts_with_numbers_of_its_own():
    seeded = keras.initializers.RandomNormal(1.0, 0.5, seed=3)
    layer = khe.HyperBatchDense(4, **members(), fast_weight_initializer=seeded, kernel_initializer=seeded)
    layer.build((None, 4))
    weights = [layer.kernel, layer.delta_kernel, layer.r, layer.s]
    starts = [np.asarray(weight).ravel()[:12] for weight in weights]
    for left in range(len(starts)):
        for right in range(left):
            assert not np.allclose(starts[left], starts[right]), (weights[left].name, weights[right].name)


def test_responses_begin_with_the_factors_of_the_kernel():
    layer = khe.HyperBatchDense(4, **members())
    layer.build((None, 4))
    for own, ours in ((layer.r, layer.u), (layer.s, layer.v)):
        np.testing.assert_array_equal(own, ours)
        assert own is not ours  # each is trained by itself


def test_random_signs():
    layer = dense(fast_weight_initializer="random_sign")
    layer.build((None, 50))
    assert set(np.unique(layer.r)) == {-1.0, 1.0}
    assert type(layer).from_config(layer.get_config()).fast_weight_initializer.probability == 0.5
    with pytest.raises(ValueError, match="probability=2"):
        khe.layers.RandomSign(2)


def test_constraints_hold_the_shared_kernel():
    layer = dense(kernel_constraint="non_neg", kernel_initializer=keras.initializers.Constant(-1.0))
    with khe.hyperparameter_scope(draw(1)):
        model = keras.Sequential([keras.Input((4,)), layer])
        model.compile("sgd", "mse")
        model.fit(np.ones((M * B, 4)), np.zeros((M * B, 5)), batch_size=M * B, verbose=0)
    assert (np.asarray(layer.kernel) >= 0).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: dense(ensemble_size=0), "ensemble_size=0"),
        (lambda: dense(ensemble_size=2.0), "ensemble_size=2.0"),
        (lambda: dense(kernel_l2="l3"), r"\['l2', 'rate'\].*kernel_l2='l3'"),
        (lambda: dense(bias_l2=-1.0), "bias_l2=-1.0"),
        (lambda: khe.HyperBatchDense(0, **members()), "units=0"),
        (lambda: khe.HyperBatchConv2D(5, 0, **members()), "kernel_size"),
        (lambda: khe.HyperBatchConv2D(5, 3, padding="full", **members()), "padding"),
        (lambda: dense().build((None, None)), "known last axis"),
        (lambda: conv().build((None, 4, 4)), "known number of channels"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_bad_space_is_a_type_error():
    with pytest.raises(TypeError, match="HyperparameterSpace"):
        dense(space=["l2"])


def test_missing_or_foreign_values_are_named():
    layer = dense(name="first")
    with pytest.raises(ValueError, match="'first' needs the current hyperparameter values"):
        layer(np.ones((M * B, 4), "float32"))
    with khe.hyperparameter_scope(draw(1, members=M + 1)), pytest.raises(ValueError, match=r"shape \(4, 1, 2\)"):
        layer(np.ones((M * B, 4), "float32"))


def test_rows_must_be_those_of_all_members():
    with khe.hyperparameter_scope(draw(1)), pytest.raises(ValueError, match="Received: 10 samples"):
        dense()(np.ones((10, 4), "float32"))


def test_unknown_batch_size_in_a_graph():
    layer = dense()
    values = draw(1)

    @tf.function(input_signature=[tf.TensorSpec((None, 4))], autograph=False)
    def call(rows):
        with khe.hyperparameter_scope(values):
            return layer(rows)

    assert call(tf.ones((M * 5, 4))).shape == (M * 5, 5) and call(tf.ones((M, 4))).shape == (M, 5)


def test_space_columns_are_found_by_name_not_by_place():
    names = list(space().names)
    reversed_space = khe.HyperparameterSpace(list(space())[::-1])
    layer = dense(space=reversed_space, kernel_l2="l2", kernel_initializer="ones", delta_kernel_initializer="zeros")
    values = draw(1)[..., ::-1]
    with khe.hyperparameter_scope(values):
        layer(np.ones((M * B, 4), "float32"), training=True)
    np.testing.assert_allclose(layer.losses[0], values[..., names.index("l2") - 1].mean() * 20, rtol=1e-5)
