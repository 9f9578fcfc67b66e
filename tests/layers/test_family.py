"""Every layer with kernels against its equations, in both ways of drawing, and against the plain Keras layer."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_hyperens as khe
from tests.layers.contract import B
from tests.layers.contract import M
from tests.layers.contract import draw
from tests.layers.contract import layer_contract
from tests.layers.contract import randomize
from tests.layers.family import FAMILY
from tests.layers.family import RELATIVES
from tests.layers.family import penalty_at
from tests.layers.family import plain_layer
from tests.layers.family import plain_like
from tests.layers.family import weights_at

every_case = pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=pytest.mark.integration if name in RELATIVES else [], id=name)
        for name, case in FAMILY.items()
    ],
)

TWO_FORMS = ("dense", "einsum", "lstm", "gru", "attention", "grouped")  # the others always fold
every_form = pytest.mark.parametrize(
    ("case", "form"),
    [
        pytest.param(case, form, marks=pytest.mark.integration if name in RELATIVES else [], id=f"{name}, {form}")
        for name, case in FAMILY.items()
        for form in (("folded", "unfolded") if name.startswith(TWO_FORMS) else ("folded",))
    ],
    indirect=["form"],
)


def built(case, rows, **arguments):
    layer = case.make(**arguments)
    with khe.hyperparameter_scope(draw(1, members=layer.ensemble_size)):
        case.call(layer, rows)
    randomize(layer)
    return layer


@every_form
@pytest.mark.parametrize("draws", [1, B])
def test_outputs_and_penalties_equal_a_loop_over_members_and_rows(case, draws, form):
    rows, values = case.rows(M * B), draw(draws)
    layer = built(case, rows)
    with khe.hyperparameter_scope(values):
        outputs = case.call(layer, rows, training=True)
        penalty = sum(layer.losses)
    plain, expected, penalties = plain_layer(layer), [], []
    size = B // draws  # of the rows with the same values
    case.call(plain, rows[:size])
    for k in range(M):
        for b in range(draws):
            start = k * B + b * size
            plain.set_weights(weights_at(case, layer, k, values[k, b]))
            expected.append(case.call(plain, rows[start : start + size]))
            penalties.append(penalty_at(case, layer, k, values[k, b]))
    np.testing.assert_allclose(outputs, np.concatenate(expected), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(penalty, np.mean(penalties), rtol=1e-4)


@every_form
def test_equal_draws_for_all_rows_equal_one_draw_for_the_member(case, form):
    rows, results = case.rows(M * B), []
    layer = built(case, rows)
    for values in (draw(1), np.repeat(draw(1), B, axis=1)):
        values = tf.constant(values)
        with khe.hyperparameter_scope(values), tf.GradientTape() as tape:
            tape.watch(values)
            outputs = case.call(layer, rows, training=True)
            loss = tf.reduce_sum(tf.sin(outputs)) + sum(layer.losses)
        weights = layer.trainable_variables
        gradients = tape.gradient(loss, [*[weight.value for weight in weights], values])
        results.append([outputs, loss, *gradients[:-1], tf.reduce_sum(gradients[-1], axis=1)])
    for left, right in zip(*results, strict=True):
        left, right = tf.convert_to_tensor(left), tf.convert_to_tensor(right)
        np.testing.assert_allclose(left, right, rtol=1e-3, atol=1e-3 * (1e-6 + np.abs(left).max()))


@every_case
@pytest.mark.parametrize(
    "sharing",
    ["hyper", "independent", pytest.param("batch", marks=pytest.mark.integration)],
)
def test_a_converted_layer_gives_what_the_plain_one_gives(case, sharing):
    rows = case.rows(B)
    plain = plain_like(case, rows)
    members = {"ensemble_size": M, "sharing": sharing, "fast_weight_initializer": "ones"}
    layer = case.type.from_plain(plain, {**members, "space": None})
    tiled = np.concatenate([rows] * M)
    case.call(layer, tiled)
    layer.adopt(plain.get_weights())
    outputs = case.call(layer, tiled, training=True)
    expected = case.call(plain, rows)
    np.testing.assert_allclose(outputs, np.concatenate([expected] * M), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(sum(layer.losses), sum(plain.losses), rtol=1e-5)
    assert layer.name == plain.name
    for k in range(M):
        for mine, weight in zip(layer.member_weights(k, None), plain.get_weights(), strict=True):
            np.testing.assert_allclose(mine, weight, rtol=1e-6)


@every_case
def test_a_member_layer_is_the_plain_layer_at_its_values(case):
    rows, values = case.rows(M * B), draw(1)
    layer = built(case, rows)
    with khe.hyperparameter_scope(values):
        outputs = np.asarray(case.call(layer, rows)).reshape(M, B, -1)
    named = dict(zip(layer.space.names, map(float, values[1, 0])))
    plain = layer.member_layer(named)
    assert type(plain) is case.type.plain_layer
    case.call(plain, rows[:1])
    plain.set_weights(layer.member_weights(1, values))
    expected = np.asarray(case.call(plain, rows[B : 2 * B])).reshape(B, -1)
    np.testing.assert_allclose(outputs[1], expected, rtol=1e-4, atol=1e-4)


@every_case
def test_gradients_of_one_trivial_member_are_the_plain_layers(case):
    rows = case.rows(B)
    plain = plain_like(case, rows)
    layer = case.type.from_plain(
        plain, {"ensemble_size": 1, "fast_weight_initializer": "ones", "fast_weights_trainable": False}
    )
    case.call(layer, rows)
    layer.adopt(plain.get_weights())
    gradients = []
    for each in (plain, layer):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.sin(case.call(each, rows, training=True))) + sum(each.losses)
        gradients.append(
            [tf.convert_to_tensor(g) for g in tape.gradient(loss, [w.value for w in each.trainable_variables])]
        )
    assert len(gradients[1]) >= len(gradients[0])
    for norm in (np.sum, lambda g: np.sum(np.square(g))):  # biases may be split over parts: sums over all weights
        sizes = [sum(norm(np.asarray(gradient)) for gradient in each) for each in gradients]
        np.testing.assert_allclose(*sizes, rtol=1e-3)


@every_case
def test_contract(case):
    layer_contract(case.make, case.row, case.inputs, case.indices)


@pytest.mark.parametrize("name", ["lstm", "gru", "attention"])
def test_dropout_inside_a_layer_follows_its_hyperparameter(name):
    case = FAMILY[name]
    rows = case.rows(M * B)
    layer = built(case, rows, dropout="rate")
    assert layer.hyperparameters_used() == {"l2", "rate"}
    with khe.hyperparameter_scope(draw(1)):
        still, first, second = (np.asarray(case.call(layer, rows, training=flag)) for flag in (False, True, True))
    assert np.isfinite(first).all() and not np.allclose(first, second) and not np.allclose(first, still)
    assert layer.member_layer({"l2": 0.1, "rate": 0.3}).dropout == 0.3


def test_masks_reach_attention_and_recurrence():
    rows, mask = FAMILY["lstm"].rows(M * B), np.arange(6)[None] < 1 + np.arange(M * B)[:, None] % 6
    for name in ("lstm", "gru", "attention"):
        case = FAMILY[name]
        layer = built(case, rows)
        keywords = {"query_mask": mask, "value_mask": mask} if case.inputs == 2 else {"mask": mask}
        with khe.hyperparameter_scope(draw(1)):
            outputs = np.asarray(case.call(layer, rows, **keywords))
        plain = plain_layer(layer)
        case.call(plain, rows[:1])
        for k in range(M):
            plain.set_weights(weights_at(case, layer, k, draw(1)[k, 0]))
            mine = slice(k * B, (k + 1) * B)
            expected = case.call(plain, rows[mine], **{key: value[mine] for key, value in keywords.items()})
            counts = mask[mine] if case.inputs == 2 else slice(None)  # nothing is promised for masked queries
            np.testing.assert_allclose(outputs[mine][counts], np.asarray(expected)[counts], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sharing", ["hyper", "independent"])
def test_negative_indices_count_from_the_end(sharing):
    case = FAMILY["embedding"]
    rows = case.rows(M * B)
    layer = built(case, rows, sharing=sharing)
    with khe.hyperparameter_scope(draw(1)):
        np.testing.assert_allclose(layer(rows - 9), layer(rows), rtol=1e-6)


def test_a_reversible_embedding_masks_vectors_and_not_projections():
    case = FAMILY["reversible embedding"]
    layer = built(case, case.rows(M * B), mask_zero=True)
    rows = np.arange(M * B * 5).reshape(M * B, 5) % 3
    with khe.hyperparameter_scope(draw(1)):
        vectors = layer(rows)
        logits = layer(vectors, reverse=True)
    np.testing.assert_array_equal(vectors._keras_mask, rows != 0)
    assert getattr(logits, "_keras_mask", None) is None


def test_a_mask_of_scores_over_two_axes():
    case = FAMILY["attention over two axes"]
    rows = case.rows(M * B)
    layer = built(case, rows)
    mask = np.random.default_rng(0).random((M * B, 2, 3, 2, 3)) < 0.7
    mask[..., 0, 0] = True
    with khe.hyperparameter_scope(draw(1)):
        found = case.call(layer, rows, attention_mask=mask, return_attention_scores=True)
    plain = plain_layer(layer)
    case.call(plain, rows[:1])
    for k in range(M):
        plain.set_weights(weights_at(case, layer, k, draw(1)[k, 0]))
        mine = slice(k * B, (k + 1) * B)
        expected = case.call(plain, rows[mine], attention_mask=mask[mine], return_attention_scores=True)
        for own, plains in zip(found, expected, strict=True):
            np.testing.assert_allclose(own[mine], plains, rtol=1e-4, atol=1e-5)


def test_causal_attention():
    case = FAMILY["attention"]
    rows = case.rows(M * B)
    layer = built(case, rows)
    with khe.hyperparameter_scope(draw(1)):
        outputs = case.call(layer, rows, use_causal_mask=True)
        changed = np.concatenate([rows[:, :3], rows[:, 3:] + 1], axis=1)
        after = case.call(layer, changed, use_causal_mask=True)
    np.testing.assert_allclose(outputs[:, :3], after[:, :3], rtol=1e-5, atol=1e-5)
    assert not np.allclose(outputs[:, 3:], after[:, 3:])


def test_members_with_kernels_of_their_own_start_apart_or_alike():
    for equal in (False, True):
        layer = khe.HyperBatchDense(3, ensemble_size=2, sharing="independent", same_initialization=equal)
        layer.build((None, 4))
        assert layer.kernel.shape == (2, 4, 3) and layer.fast_weights == []
        assert np.allclose(layer.kernel[0], layer.kernel[1]) == equal
        bound = np.sqrt(6 / (4 + 3))  # Glorot's, of one member's fans
        assert 0.5 * bound < np.abs(layer.kernel).max() <= bound


def test_a_factor_multiplies_a_hyperparameter():
    outputs = []
    for setting in ("l2", ("l2", 0.25)):
        case = FAMILY["dense"]
        layer = built(case, case.rows(M * B), kernel_l2=setting, bias_l2=None)
        with khe.hyperparameter_scope(draw(1)):
            layer(case.rows(M * B), training=True)
        outputs.append(float(sum(layer.losses)))
    np.testing.assert_allclose(outputs[1], 0.25 * outputs[0], rtol=1e-5)
    twin = type(layer).from_config(
        keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer)).get_config()
    )
    assert twin.kernel_l2 == ("l2", 0.25)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: khe.HyperBatchDense(3, ensemble_size=2, kernel_regularizer="l2"), "`kernel_l2=`.*kernel_regularizer="),
        (lambda: khe.HyperBatchDense(3, ensemble_size=2, sharing="all"), "sharing='all'"),
        (lambda: khe.layers.HyperBatchLSTM(3, ensemble_size=2, stateful=True), "stateful=True"),
        (lambda: khe.layers.HyperBatchMultiHeadAttention(2, 3, ensemble_size=2, use_gate=True), "use_gate"),
        (
            lambda: khe.layers.HyperBatchEinsumDense("abc,ad->bd", output_shape=(3,), ensemble_size=2),
            "equation='abc,ad->bd'",
        ),
        (lambda: khe.HyperDropout(0.1, noise_shape=(2, 3), ensemble_size=2), r"noise_shape=\(2, 3\)"),
    ],
)
def test_what_a_layer_cannot_do_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
