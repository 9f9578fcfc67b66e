"""What does not fit is found before the first training, and before anything is written."""

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf

from keras_hyperens.likelihoods import Categorical
from keras_hyperens.search.dry_run import check_scoring
from keras_hyperens.search.dry_run import check_training_data
from keras_hyperens.search.scorer import Target
from keras_hyperens.search.validation_rows import ValidationRows
from tests.search import problem
from tests.search.problem import blobs
from tests.search.problem import eager_model

X, Y = blobs()
XV, YV = blobs(45, seed=1)
ROUND = np.eye(3)[Y].astype("float32"), np.eye(3)[YV].astype("float32")
SOFT = [each * 0.7 + 0.1 for each in ROUND]


def network(loss, outputs=3, activation=None):
    def build(hp):
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(outputs, activation)])
        hp.Float("l2", 1e-6, 1e-1)
        model.compile(keras.optimizers.Adam(0.05), loss, run_eagerly=True)
        return model

    return build


def focal(y_true, y_pred):
    return keras.ops.sum(-y_true * (1 - y_pred) ** 2 * keras.ops.log(y_pred), -1)


def search(directory, hypermodel=eager_model, train=(X, Y), validation_data=(XV, YV), metric="auto", fit=None, **rest):
    settings = {"max_trials": 1, "initializations": 0, "ensemble_size": 1, "objective": "val_loss", **rest}
    builder = problem.make_builder(directory, hypermodel, metric=metric, **settings)
    builder.search(*train, validation_data=validation_data, epochs=1, verbose=0, **(fit or {}))
    return builder


CROSS_ENTROPY = "sparse_categorical_crossentropy"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(validation_data=(XV, YV + 1)), r"cannot be scored.*class indices in \[0, 3\).*values in \[1, 3\]"),
        (dict(train=(X, Y - 1)), r"Labels of training data must be classes in \[0, 3\). Received: values in \[-1, 1\]"),
        (dict(validation_data=(XV, YV[:-1])), r"validation_data must have equal lengths.*\[45, 44\]"),
        (dict(validation_data=(XV, YV, np.ones(7))), r"validation_data must have equal lengths.*\[45, 45, 7\]"),
        (dict(train=(X, Y[:-2])), r"training data must have equal lengths.*\[60, 58\]"),
        (dict(validation_data=(np.ones((45, 3)), YV)), "inputs like training data.*Received: inputs of shapes"),
        (dict(train=(np.ones((60, 3)), Y), validation_data=(np.ones((45, 3)), YV)), "cannot predict the validation"),
        (dict(validation_data=(XV, YV, np.zeros(45))), "not all 0"),
        (dict(validation_data=(XV, YV, -np.ones(45))), "at least 0"),
        (dict(validation_data=(XV, YV, np.full(45, np.nan))), "must be finite"),
        (dict(validation_data=(XV, YV, np.arange(45)), metric=lambda y, p: 0.0), "must take `sample_weight`"),
        (dict(validation_data=(XV, SOFT[1]), metric="nll"), "class indices or one-hot"),
        (dict(metric="auroc"), "`metric` must be one of .*Received: metric='auroc'"),
        (dict(metric="mse"), "requires a value for each of 3 outputs"),
        (dict(hypermodel=network("mse")), "requires a value for each of 3 outputs"),
        (dict(hypermodel=network(focal)), "neither the loss nor the last activation.*set `output_activation`"),
        (dict(hypermodel=network(focal), validation_data=(XV, ROUND[1])), "set `output_activation`"),
        (dict(hypermodel=network(focal, 1), validation_data=(XV, YV % 2)), "set `output_activation`"),
        (dict(validation_data=[(XV, YV)]), "must have samples and labels|validation_data"),
        (dict(validation_data=((XV, YV) for _ in iter(int, 1))), "convert a generator to a"),
        (dict(train=(((X, Y) for _ in iter(int, 1)), None)), "Every candidate reads the training data again"),
        (dict(output_activation="relu"), "`output_activation` must be"),
        (dict(objective=keras_tuner.Objective("val_nil", "min")), "`objective` must be one of .*'val_nll'.*'val_nil'"),
        (dict(metric=lambda y, p: 1 / 0), "cannot be scored: division by zero"),
        (
            dict(hypermodel=lambda hp: (hp.Float("tuner/epochs", 0, 1), eager_model(hp))[1]),
            "must not be reserved by tuners",
        ),
    ],
)
def test_what_does_not_fit_is_found_first(arguments, message, tmp_path, monkeypatch):
    monkeypatch.setattr(keras.Model, "fit", None)
    with pytest.raises(ValueError, match=message):
        search(tmp_path, **arguments)
    assert not list(tmp_path.iterdir())


def ignoring(hp):
    return network(keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1))(hp)


@pytest.mark.parametrize(
    ("hypermodel", "labels", "settings", "score"),
    [
        (network(focal, activation="softmax"), ROUND, {}, "nll"),
        pytest.param(
            network(focal, activation="softmax"), ROUND, {"metric": "loss"}, "focal", marks=pytest.mark.integration
        ),
        (network("categorical_crossentropy", activation="softmax"), SOFT, {}, "soft"),
        pytest.param(
            network("binary_crossentropy", activation="sigmoid"), SOFT, {}, "binary", marks=pytest.mark.integration
        ),
        (ignoring, (np.where(X[:, 0] > 1, -1, Y), np.where(XV[:, 0] > 1, -1, YV)), {}, "read"),
        pytest.param(
            network(lambda a, b: focal(a, keras.ops.softmax(b))),
            ROUND,
            {"output_activation": "softmax"},
            "nll",
            marks=pytest.mark.integration,
        ),
        (network(focal, activation=lambda x: keras.ops.softmax(x)), ROUND, {"output_activation": "categorical"}, "nll"),
    ],
)
def test_losses_and_labels_of_every_kind_are_searched_and_scored(hypermodel, labels, settings, score, tmp_path):
    builder = search(tmp_path, hypermodel, (X, labels[0]), (XV, labels[1]), **settings)
    (candidate,) = builder.candidates
    ensemble = builder.build_ensemble()
    ensemble.run_eagerly = True
    p, y = ensemble.predict(XV, verbose=0).astype("float64"), labels[1]
    np.testing.assert_allclose(p.sum(-1) if score != "binary" else 1, 1, rtol=1e-5)
    expected = {
        "nll": lambda: -np.log(p[np.arange(45), YV]).mean(),
        "focal": lambda: np.mean(focal(y, p)),
        "soft": lambda: -(y * np.log(p)).sum(-1).mean(),
        "binary": lambda: -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean(),
        "read": lambda: -np.log(p[np.arange(45), YV])[y != -1].mean(),
    }[score]()
    np.testing.assert_allclose(candidate.score, expected, rtol=1e-4)
    measure = "predictive_entropy"
    assert measure in ensemble.predict_uncertainty(XV, verbose=0)


@pytest.mark.integration
def test_weights_of_validation_rows_decide_and_are_kept(tmp_path):
    counts = np.arange(45) % 4
    repeated = np.repeat(XV, counts, 0), np.repeat(YV, counts)
    plain = search(tmp_path / "repeated", validation_data=repeated, max_trials=2)
    builder = search(tmp_path / "weighted", validation_data=(XV, YV, counts), max_trials=2)
    scores = [each.score for each in builder.candidates]
    np.testing.assert_allclose(scores, [each.score for each in plain.candidates], rtol=1e-5)
    settings = {"max_trials": 2, "initializations": 0, "ensemble_size": 2, "objective": "val_loss"}
    again = problem.make_builder(tmp_path / "weighted", eager_model, **settings)
    sizes = again.scores_by_size()
    for kind, expected in plain.scores_by_size(2).items():
        np.testing.assert_allclose(sizes[kind], expected, rtol=1e-5)


@pytest.mark.integration
def test_a_search_scores_what_keras_masks_as_keras_does(tmp_path):
    def build(hp):
        layers = [keras.layers.Embedding(6, 4, mask_zero=True), keras.layers.Dense(3)]
        model = keras.Sequential([keras.Input((5,), dtype="int32"), *layers])
        hp.Float("l2", 1e-6, 1e-1)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(0.05), loss, run_eagerly=True)
        return model

    x = np.random.default_rng(0).integers(0, 6, (60, 5))
    for metric in ("nll", "loss"):
        builder = search(tmp_path / metric, build, (x[:30], x[:30] % 3), (x[30:], x[30:] % 3), metric)
        expected = builder.build_ensemble().evaluate(x[30:], x[30:] % 3, verbose=0)
        assert builder.candidates[0].score == pytest.approx(expected, rel=1e-5)


def test_weights_are_read_in_every_form():
    counts = np.arange(45) % 4
    two = {"a": YV, "b": YV}
    for weights, expected in (
        (None, [None, None]),
        (counts, [counts, counts]),
        ({"b": counts}, [None, counts]),
        ({"b": counts, "a": counts + 1}, [counts + 1, counts]),
        ([None, counts], [None, counts]),
    ):
        rows = ValidationRows((XV, two, weights))
        assert all(map(np.array_equal, rows.weights, expected))
    rows = ValidationRows(tf.data.Dataset.from_tensor_slices((XV, YV, counts)).batch(7))
    np.testing.assert_array_equal(rows.weights, [counts])


def test_names_that_begin_like_those_of_tuners_are_hyperparameters(tmp_path):
    def build(hp):
        model = keras.Sequential(
            [keras.Input((2,)), keras.layers.Dense(hp.Int("tuner/units", 3, 9)), keras.layers.Dense(3)]
        )
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=True)
        return model

    builder = search(tmp_path, build, max_trials=3, fit={"batch_size": 60})
    assert len({each.values["tuner/units"] for each in builder.candidates}) > 1
    units = [each.values["tuner/units"] for each in builder.candidates]
    ensemble = builder.build_ensemble(3)
    names = [each.name for each in builder.candidates]
    chosen = [units[names.index(member.name)] for member in builder.members]
    assert [member.layers[0].units for member in ensemble.members] == chosen


def test_rows_of_another_form_and_batches_of_one_size_are_let_through():
    for train, validation in (
        (X[:, 0], XV[:, :1]),
        (tf.data.Dataset.from_tensor_slices((X, Y)).batch(7), XV),
        (X.tolist(), XV),
        ({"a": X}, {"a": XV}),
    ):
        check_training_data(train, None, None, ValidationRows((validation, YV)))
    inputs = keras.Input(batch_shape=(5, 2))
    model = keras.Model(inputs, keras.layers.Dense(3, "softmax")(inputs))
    model.compile("sgd", CROSS_ENTROPY)
    seen = []
    rows = ValidationRows((XV, YV))
    check_scoring(model, rows, [Target(YV)], lambda made_up, likelihoods: seen.append((made_up[0].shape, likelihoods)))
    assert seen == [((45, 3), [Categorical()])]
