"""The training step, the tuning step, and everything that `fit` takes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_hyperens as khe
from keras_hyperens.models.training import tuning_step
from keras_hyperens.models.training import weight_step
from keras_hyperens.models.training.draws import draw
from tests.models.eagerly import eagerly_first
from tests.models.networks import LOGITS
from tests.models.networks import M
from tests.models.networks import blobs
from tests.models.networks import compiled
from tests.models.networks import conv_network
from tests.models.networks import dense_network
from tests.models.networks import images
from tests.models.networks import members


def bounds_of(ensemble):
    return np.stack([np.array(bound) for bound in ensemble.distribution.bounds()])


def one_step(ensemble, x, y, **arguments):
    ensemble.fit(x, y, batch_size=len(x), shuffle=False, verbose=0, **arguments)


@eagerly_first
@pytest.mark.filterwarnings("ignore:No tuning data")
@pytest.mark.parametrize("sampling", ["member", "example"])
def test_a_step_is_the_mean_of_what_lone_members_would_do(sampling):
    """One step of gradient descent equals the gradient of the mean over members of loss plus penalty, by hand."""
    network = keras.Sequential([keras.Input((4,)), khe.HyperBatchDense(3, kernel_l2="l2", **members())])
    with pytest.warns(UserWarning, match="rate"):
        ensemble = compiled(network, optimizer=keras.optimizers.SGD(1.0), sampling=sampling)
    x, y = blobs(12)
    before = [np.array(weight) for weight in network.trainable_weights]
    values = draw(ensemble, ensemble.distribution.bounds(), len(x) if sampling == "example" else 1, 0)
    with tf.GradientTape() as tape, khe.hyperparameter_scope(values, ensemble._members.centers()):
        logits = tf.reshape(network(tf.tile(x, (M, 1)), training=True), (M, 12, 3))
        nll = tf.reduce_mean([tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, one)) for one in logits])
        total = nll + sum(network.losses)
    gradients = tape.gradient(total, [weight.value for weight in network.trainable_weights])
    one_step(ensemble, x, y)
    for weight, old, gradient in zip(network.trainable_weights, before, gradients):
        np.testing.assert_allclose(weight, old - gradient, atol=1e-5, err_msg=weight.name)


@pytest.mark.parametrize(
    ("tuning_loss", "sampling"),
    [
        ("ensemble", "member"),
        ("member", "example"),
        pytest.param("ensemble", "example", marks=pytest.mark.integration),
        pytest.param("member", "member", marks=pytest.mark.integration),
    ],
)
def test_gradients_for_the_bounds_equal_finite_differences(tuning_loss, sampling):
    settings = {"tuning_loss": tuning_loss, "sampling": sampling, "entropy_weight": 0.1, "run_eagerly": True}
    ensemble = compiled(seed=3, **settings)
    x, y = blobs(24)
    one_step(ensemble, x, y, tuning_data=(x, y))
    generator = np.random.default_rng(0)
    for weight in ensemble.network.trainable_weights:  # as after training: outputs depend on hyperparameters
        weight.assign(weight + generator.normal(0, 0.3, weight.shape))
    bounds = ensemble.distribution.bounds()
    gradients, centers = ensemble._trainer.tuning.gradients(bounds, 0, 24).bounds, ensemble._members.centers()

    def objective(bounds):
        tx, ty, _ = ensemble._trainer.tuning.rows.batch(0, 24)
        with khe.hyperparameter_scope(draw(ensemble, bounds, 24 if sampling == "example" else 1, 1), centers):
            logits = np.asarray(ensemble._member_outputs(tx, training=False), "float64")
        logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
        rows = np.arange(24)
        nll = -np.log(np.exp(logits).mean(0))[rows, ty] if tuning_loss == "ensemble" else -logits[:, rows, ty]
        entropy = np.log(np.asarray(bounds[1], "float64") - bounds[0]).sum()
        return nll.mean() - 0.1 * entropy

    step = 2e-3
    for side in range(2):
        for member in range(M):
            for column in range(2):
                shifted = []
                for sign in (1, -1):
                    moved = [np.array(bound) for bound in bounds]
                    moved[side][member, column] += sign * step
                    shifted.append(objective([tf.constant(bound) for bound in moved]))
                difference = (shifted[0] - shifted[1]) / (2 * step)
                np.testing.assert_allclose(gradients[side][member, column], difference, rtol=2e-2, atol=2e-4)


@eagerly_first
def test_a_tuning_step_moves_the_bounds_along_the_gradient_and_nothing_else():
    ensemble = compiled(
        optimizer=keras.optimizers.SGD(0.0), tuning_optimizer=keras.optimizers.SGD(0.01), tuning_every=1
    )
    x, y = blobs(24)
    one_step(ensemble, x, y, tuning_data=(x, y))
    before, weights = bounds_of(ensemble), [np.array(weight) for weight in ensemble.network.weights]
    gradients = ensemble._trainer.tuning.gradients(ensemble.distribution.bounds(), 1, 24).bounds
    one_step(ensemble, x, y, tuning_data=(x, y))
    np.testing.assert_allclose(bounds_of(ensemble) - before, -0.01 * np.stack(gradients), atol=1e-6)
    for left, right in zip(weights, ensemble.network.weights):
        np.testing.assert_array_equal(left, right)


@eagerly_first
def test_tuning_every_and_warm_up():
    ensemble = compiled(tuning_every=3, tuning_warmup=3, tuning_optimizer=keras.optimizers.Adam(0.01))
    x, y = blobs(32)
    history = khe.HyperparameterHistory()
    logs = ensemble.fit(x, y, batch_size=32, epochs=8, tuning_data=(x, y), callbacks=[history], verbose=0).history
    changed = [bool(np.any(b != a)) for a, b in zip(history.bounds["l2"], history.bounds["l2"][1:])]
    assert [step for step, moved in enumerate(changed) if moved] == [3, 6]
    assert int(ensemble.tuning_optimizer.iterations) == 2  # put back where the step did not tune
    assert np.isfinite(logs["tuning_loss"][::3]).all() and np.isnan(logs["tuning_loss"][1::3]).all()
    assert int(ensemble.step) == 8


def test_entropy_pulls_intervals_open():
    entropies = {}
    for weight in (0.0, 10.0):
        settings = {"tuning_every": 1, "tuning_optimizer": keras.optimizers.Adam(0.01), "run_eagerly": True}
        ensemble = compiled(entropy_weight=weight, **settings)
        x, y = blobs(16)
        entropies[weight] = ensemble.fit(x, y, epochs=5, tuning_data=(x, y), verbose=0).history["entropy"]
    np.testing.assert_allclose(entropies[10.0][0], M * 2 * np.log(2 / 3), atol=0.2)
    assert entropies[10.0][-1] > entropies[0.0][-1] + 0.5


@eagerly_first
def test_without_tuning_rows_the_bounds_stay_and_fit_says_so_once():
    ensemble, (x, y) = compiled(), blobs()
    before = bounds_of(ensemble)
    with pytest.warns(UserWarning, match="No tuning data"):
        logs = ensemble.fit(x, y, verbose=0).history
    logs = ensemble.fit(x, y, verbose=0).history  # a second warning would be an error
    np.testing.assert_array_equal(bounds_of(ensemble), before)
    assert "tuning_loss" not in logs and "entropy" in logs


def ridge(seed):
    """Samples, tuning samples, and by logarithms of L2 coefficients the tuning error in closed form."""
    generator = np.random.default_rng(seed)
    weights = generator.normal(size=20) * 0.5
    x, x_tune = generator.normal(size=(30, 20)), generator.normal(size=(400, 20))
    y, y_tune = (rows @ weights + generator.normal(size=len(rows)) * 1.5 for rows in (x, x_tune))
    grid = np.linspace(np.log(1e-3), np.log(1e2), 201)
    # The loss is the mean squared error plus l2 * sum(w²): w = (XᵀX / n + l2)⁻¹ Xᵀy / n.
    solutions = [np.linalg.solve(x.T @ x / 30 + l2 * np.eye(20), x.T @ y / 30) for l2 in np.exp(grid)]
    errors = [((x_tune @ w - y_tune) ** 2).mean() for w in solutions]
    return (x, y[:, None]), (x_tune, y_tune[:, None]), lambda l2: np.interp(np.log(l2), grid, errors), min(errors)


@pytest.mark.parametrize(
    "place, warmup",
    [
        pytest.param(-0.6, 300, id="weak", marks=pytest.mark.integration),
        pytest.param(0.6, 0, id="strong"),
        pytest.param(0.85, 0, id="very strong", marks=pytest.mark.integration),
    ],
)
def test_tuning_finds_the_best_ridge_penalty_from_both_sides(place, warmup):
    """From weak penalties a warm-up is needed: the error hardly depends on them, and the response must be known."""
    (x, y), tuning, error_at, lowest = ridge(seed=0)
    space = khe.HyperparameterSpace([khe.Hyperparameter("l2", 1e-3, 1e2, "log")])
    layer = khe.HyperBatchDense(
        1, use_bias=False, kernel_l2="l2", ensemble_size=1, space=space, fast_weight_initializer="ones",
        kernel_initializer="zeros", regularize_fast_weights=True,
    )  # fmt: skip
    ensemble = khe.HyperBatchEnsemble(
        keras.Sequential([keras.Input((20,)), layer]), space=space, ensemble_size=1, initial_width=0.15, seed=0
    )
    ensemble.distribution.lower.assign([[place - 0.15]])
    ensemble.distribution.upper.assign([[place + 0.15]])
    assert error_at(ensemble.hyperparameter_values()["l2"][0]) > 1.1 * lowest
    ensemble.compile(keras.optimizers.Adam(0.02), "mse", tuning_warmup=warmup, steps_per_execution=50)
    rows = tf.data.Dataset.from_tensors((x.astype("float32"), y.astype("float32"))).repeat(1500)
    ensemble.fit(rows, tuning_data=tuning, shuffle=False, verbose=0)
    assert error_at(ensemble.hyperparameter_values()["l2"][0]) < 1.01 * lowest


def as_dataset(x, y, weights=None):
    parts = (x, y) if weights is None else (x, y, weights)
    return tf.data.Dataset.from_tensor_slices(parts).batch(16)


class Batches(keras.utils.PyDataset):
    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x) // 16

    def __getitem__(self, index):
        part = slice(16 * index, 16 * index + 16)
        return self.x[part], self.y[part]


def generator_of(x, y):
    for start in range(0, len(x), 16):
        yield x[start : start + 16], y[start : start + 16]


MAKERS = {"arrays": lambda *arrays: arrays, "dataset": as_dataset, "pydataset": Batches, "generator": generator_of}


def trained_on(training, tuning):
    keras.utils.set_random_seed(1)
    ensemble = compiled(run_eagerly=True)
    tuning_data = MAKERS[tuning](*blobs(32, seed=1))
    if training == "arrays":
        ensemble.fit(*blobs(64), batch_size=16, shuffle=False, tuning_data=tuning_data, verbose=0)
    else:
        data = MAKERS[training](*blobs(64))
        ensemble.fit(data, steps_per_epoch=4, shuffle=False, tuning_data=tuning_data, verbose=0)
    return ensemble.get_weights()


@pytest.mark.integration
def test_every_kind_of_data_gives_the_same_weights():
    expected = trained_on("arrays", "arrays")
    for kinds in (("dataset", "generator"), ("pydataset", "dataset"), ("generator", "pydataset")):
        for left, right in zip(trained_on(*kinds), expected):
            np.testing.assert_allclose(left, right, atol=1e-6, err_msg=str(kinds))


@eagerly_first
def test_sample_and_class_weights_apply():
    x, y = blobs(30)
    results = {}
    for name, arguments in {
        "class": {"class_weight": {0: 2.0, 1: 0.5, 2: 1.0}},
        "sample": {"sample_weight": np.array([2.0, 0.5, 1.0])[y]},
        "none": {},
    }.items():
        keras.utils.set_random_seed(1)
        ensemble = compiled(tuning_every=1)
        weights = () if name != "sample" else (np.array([2.0, 0.5, 1.0])[y],)
        ensemble.fit(x, y, shuffle=False, tuning_data=(x, y, *weights), verbose=0, **arguments)
        results[name] = ensemble.get_weights()
    for left, right in zip(results["class"], results["sample"]):
        np.testing.assert_allclose(left, right, atol=1e-6)
    assert any(np.abs(left - right).max() > 1e-4 for left, right in zip(results["class"], results["none"]))


@eagerly_first
def test_seeds_repeat_and_zero_is_a_seed():
    x, y = blobs(32)
    runs = []
    for seed in (0, 0, 1):
        keras.utils.set_random_seed(5)
        ensemble = compiled(optimizer=keras.optimizers.Adam(0.02), seed=seed)
        ensemble.fit(x, y, batch_size=12, tuning_split=0.25, verbose=0)
        runs.append(ensemble.predict(x, verbose=0))
    np.testing.assert_array_equal(runs[0], runs[1])
    assert np.abs(runs[0] - runs[2]).max() > 1e-4


def test_logs_and_metrics():
    ensemble = compiled(
        run_eagerly=True,
        optimizer=keras.optimizers.Adam(0.02),
        metrics=["accuracy", khe.metrics.ExpectedCalibrationError()],
        member_metrics=[keras.metrics.SparseCategoricalAccuracy(name="member_accuracy")],
        member_rows="same",
        tune_temperature=True,
    )
    x, y = blobs(32)
    history = ensemble.fit(x, y, tuning_split=0.25, validation_data=(x, y), epochs=3, verbose=0).history
    common = {"loss", "accuracy", "ece", "member_accuracy"}
    assert set(history) == {*common, "tuning_loss", "entropy", "temperature", *(f"val_{name}" for name in common)}
    logs = ensemble.evaluate(x, y, batch_size=16, verbose=0, return_dict=True)
    prediction, each = ensemble.predict(x, verbose=0), ensemble.predict_members(x, verbose=0)
    np.testing.assert_allclose(logs["accuracy"], (prediction.argmax(1) == y).mean(), rtol=1e-6)
    np.testing.assert_allclose(logs["member_accuracy"], (each.argmax(-1) == y).mean(), rtol=1e-6)
    assert history["loss"][-1] < history["loss"][0]


@eagerly_first
def test_compiling_again_starts_with_fresh_metrics():
    ensemble, (x, y) = compiled(member_metrics=[keras.metrics.SparseCategoricalAccuracy(name="old")]), blobs()
    ensemble.fit(x, y, tuning_split=0.25, verbose=0)
    ensemble.compile("sgd", LOGITS, tune_temperature=False)
    assert set(ensemble.fit(x, y, tuning_split=0.25, verbose=0).history) == {"loss", "tuning_loss", "entropy"}


@pytest.mark.parametrize(
    ("multiplier", "run_eagerly"),
    [(0.0, True), (0.5, True), pytest.param(0.5, False, marks=pytest.mark.integration)],
    indirect=["run_eagerly"],
)
@pytest.mark.filterwarnings("ignore:No tuning data")
def test_fast_weights_learn_at_their_own_rate(multiplier):
    x, y = blobs(32)
    steps = []
    for factor in (1.0, multiplier):
        keras.utils.set_random_seed(1)
        ensemble = compiled(fast_weight_learning_rate=factor)
        before = [np.array(weight) for weight in ensemble.network.trainable_weights]
        one_step(ensemble, x, y)
        steps.append([np.array(w) - b for w, b in zip(ensemble.network.trainable_weights, before)])
    for weight, full, scaled in zip(ensemble.network.trainable_weights, *steps):
        factor = multiplier if weight.name in ("r", "s", "u", "v") else 1.0
        np.testing.assert_allclose(scaled, factor * full, atol=1e-6, err_msg=weight.path)


@pytest.mark.filterwarnings("ignore:No tuning data")
def test_weight_decay_spares_fast_weights_and_embeddings():
    optimizer = keras.optimizers.AdamW(learning_rate=0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias$"])  # the user's choice is kept
    ensemble = compiled(dense_network(), optimizer=optimizer)
    variables = {weight.path: weight for weight in ensemble.trainable_variables}
    spared = {path.split("/")[-1] for path, weight in variables.items() if not optimizer._use_weight_decay(weight)}
    assert spared == {"r", "s", "u", "v", "kernel_embedding", "bias_embedding", "bias", "delta_bias"}


@pytest.mark.integration
@pytest.mark.parametrize("arguments", [
    {"sampling": "example", "member_loss": "ensemble"},
    {"optimizer": keras.optimizers.AdamW(clipnorm=1.0, use_ema=True)},
    {"steps_per_execution": 3, "tuning_optimizer": "sgd"},
    {"run_eagerly": True},
    {"jit_compile": True},
    {"jit_compile": True, "sampling": "example"},
])  # fmt: skip
def test_ways_to_train(arguments):
    x, y = blobs(90)
    ensemble = compiled(**arguments)
    history = ensemble.fit(x, y, batch_size=30, tuning_split=1 / 3, epochs=12, verbose=0).history
    assert history["loss"][-1] < history["loss"][0] and np.nanmax(history["tuning_loss"]) < 5


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore:Neither a layer nor the loss uses")
def test_jit_and_plain_steps_agree(monkeypatch):
    """With given draws: XLA has a random generator of its own."""
    for step in (weight_step, tuning_step):
        monkeypatch.setattr(step, "draw", lambda each, bounds, *_: each.distribution.mean(bounds)[:, None])
    x, y = blobs(64)
    results = []
    for jit_compile in (False, True):
        keras.utils.set_random_seed(1)
        ensemble = compiled(
            dense_network(rate=1e-7), optimizer=keras.optimizers.SGD(0.1), jit_compile=jit_compile, tuning_every=1
        )
        ensemble.fit(x, y, batch_size=32, shuffle=False, tuning_data=(x, y), verbose=0)
        results.append(ensemble.get_weights())
    for left, right in zip(*results):
        np.testing.assert_allclose(left, right, atol=1e-4)


@eagerly_first
def test_mixed_precision_scales_both_losses(mixed_float16):
    ensemble, (x, y) = compiled(optimizer=keras.optimizers.Adam(0.02), tuning_every=1), blobs()
    assert isinstance(ensemble.optimizer, keras.optimizers.LossScaleOptimizer)
    assert isinstance(ensemble.tuning_optimizer, keras.optimizers.LossScaleOptimizer)
    before = bounds_of(ensemble)
    history = ensemble.fit(x, y, tuning_split=0.25, epochs=4, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert np.isfinite(bounds_of(ensemble)).all() and np.abs(bounds_of(ensemble) - before).max() > 1e-4
    assert ensemble.predict(x, verbose=0).dtype == "float32"


@eagerly_first
def test_a_tuning_scale_too_large_is_lowered(mixed_float16):
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(1e-3), initial_scale=1e30)
    ensemble, (x, y) = compiled(tuning_every=1, tuning_optimizer=optimizer), blobs()
    before = bounds_of(ensemble)
    one_step(ensemble, x, y, tuning_data=(x, y))
    np.testing.assert_allclose(bounds_of(ensemble), before, atol=1e-6)
    assert float(optimizer.dynamic_scale) < 1e30


@pytest.mark.integration
def test_early_stopping_gives_back_weights_and_bounds():
    ensemble, (x, y) = compiled(optimizer=keras.optimizers.Adam(0.1)), blobs()
    stop = keras.callbacks.EarlyStopping("val_loss", patience=3, restore_best_weights=True)
    history = ensemble.fit(
        x, y, tuning_split=0.25, validation_data=blobs(64, seed=3), epochs=60, callbacks=[stop], verbose=0
    ).history
    assert len(history["loss"]) < 60
    loss = ensemble.evaluate(*blobs(64, seed=3), verbose=0, return_dict=True)["loss"]
    np.testing.assert_allclose(loss, min(history["val_loss"]), rtol=1e-5)


@eagerly_first
def test_learning_rate_schedules_and_a_single_callback():
    schedule = keras.optimizers.schedules.CosineDecay(1e-2, 20)
    ensemble, (x, y) = compiled(optimizer=keras.optimizers.Adam(schedule)), blobs()
    ensemble.fit(x, y, tuning_split=0.25, epochs=2, callbacks=keras.callbacks.TerminateOnNaN(), verbose=0)


@eagerly_first
def test_nan_in_training_stops_and_leaves_the_bounds_finite():
    ensemble, (x, y) = compiled(tuning_every=1), blobs()
    with pytest.warns(UserWarning, match=r"not finite in any step.*training stops"):
        history = ensemble.fit(x * np.nan, y, tuning_data=(x, y), epochs=5, verbose=0).history
    assert len(history["loss"]) == 1
    assert np.isfinite(bounds_of(ensemble)).all()


@eagerly_first
def test_a_gradient_that_is_not_finite_is_skipped():
    ensemble, (x, y) = compiled(tuning_every=1), blobs()
    one_step(ensemble, x, y, tuning_data=(x, y))
    before, iterations = bounds_of(ensemble), int(ensemble.tuning_optimizer.iterations)
    kernel = ensemble.network.layers[-1].kernel
    kernel.assign(np.full(kernel.shape, np.inf))
    with pytest.warns(UserWarning, match="training stops"):
        one_step(ensemble, x, y, tuning_data=(x, y))
    np.testing.assert_array_equal(bounds_of(ensemble), before)
    assert int(ensemble.tuning_optimizer.iterations) == iterations


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"member_loss": "both"}, "member_loss='both'"),
        ({"tuning_loss": "nll"}, "tuning_loss='nll'"),
        ({"sampling": "row"}, "sampling='row'"),
        ({"tuning_every": 0}, "tuning_every=0"),
        ({"tuning_warmup": -1}, "tuning_warmup=-1"),
        ({"entropy_weight": float("nan")}, "entropy_weight=nan"),
        ({"fast_weight_learning_rate": -0.5}, "fast_weight_learning_rate=-0.5"),
        (
            {"metrics": [keras.metrics.SparseCategoricalCrossentropy(from_logits=True)]},
            "Metrics receive probabilities.*from_logits=True",
        ),
    ],
)
def test_bad_settings_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        compiled(**arguments)


def test_member_metrics_must_be_objects_and_optimizers_two():
    with pytest.raises(TypeError, match="Received: 'accuracy'"):
        compiled(member_metrics=["accuracy"])
    adam = keras.optimizers.Adam()
    with pytest.raises(ValueError, match="must be different objects"):
        compiled(optimizer=adam, tuning_optimizer=adam)


@eagerly_first
def test_convolutions_train_too():
    ensemble, (x, y) = compiled(conv_network(), sampling="example"), images()
    history = ensemble.fit(x, y, tuning_split=0.25, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()


@eagerly_first
def test_other_tuning_rows_are_used_in_the_next_fit():
    ensemble, (x, y) = compiled(tuning_every=1, optimizer=keras.optimizers.SGD(0.0)), blobs()
    losses = [
        ensemble.fit(x, y, tuning_data=(x, labels), verbose=0).history["tuning_loss"][0] for labels in (y, (y + 1) % 3)
    ]
    assert abs(losses[0] - losses[1]) > 0.05
