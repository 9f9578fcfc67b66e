"""What makes a search another one, and what does not."""

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf

from keras_hyperens.search.digests import PLACES
from keras_hyperens.search.digests import digest_of
from keras_hyperens.search.digests import model_digests
from keras_hyperens.search.validation_rows import ValidationRows
from tests.search import problem
from tests.search.problem import blobs
from tests.search.problem import eager_model
from tests.search.problem import essence

SETTINGS = {"max_trials": 1, "initializations": 0, "ensemble_size": 1}


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A search that has ended."""
    directory = tmp_path_factory.mktemp("search")
    search(directory)
    return directory


def search(directory, hypermodel=eager_model, data=None, validation_data=None, fit=None, **changes):
    builder = problem.make_builder(directory, hypermodel, **{**SETTINGS, **changes})
    validation_data = blobs(45, seed=1) if validation_data is None else validation_data
    arguments = {"epochs": 2, "batch_size": 30, "verbose": 0, **(fit or {})}
    builder.search(*(data or blobs()), validation_data=validation_data, **arguments)
    return builder


def changed(change):
    def build(hp):
        model = eager_model(hp)
        change(model)
        return model

    return build


def recompiled(**arguments):
    def change(model):
        given = {"optimizer": keras.optimizers.Adam(0.05), "loss": model.loss, "metrics": ["accuracy"]}
        metrics = [*given["metrics"], keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="nll")]
        model.compile(**{**given, "metrics": metrics, "run_eagerly": True, **arguments})

    return changed(change)


def other_activation(model):
    model.layers[0].activation = keras.activations.tanh


HYPERMODELS = [
    (changed(other_activation), "model"),
    (recompiled(loss="sparse_categorical_crossentropy"), "loss"),
    (recompiled(optimizer=keras.optimizers.Adam(0.01)), "optimizer"),
    (recompiled(metrics=[keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="nll")]), "metrics"),
]
X, Y = blobs()


@pytest.mark.parametrize(("hypermodel", "part"), HYPERMODELS, ids=[part for _, part in HYPERMODELS])
def test_another_model_is_refused_by_search_and_by_build_ensemble(hypermodel, part, directory):
    message = rf"belongs to another search, which differs in \['{part}'\].*use the original values"
    with pytest.raises(ValueError, match=message):
        search(directory, hypermodel)
    builder = problem.make_builder(directory, hypermodel, **SETTINGS)
    for _ in range(2):
        with pytest.raises(ValueError, match=message):
            builder.build_ensemble()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (dict(data=(X[::-1], Y[::-1])), "training data"),
        (dict(data=(X + np.eye(60, 2, dtype="float32"), Y)), "training data"),
        (dict(data=(X, np.roll(Y, 1))), "training data"),
        (dict(fit={"sample_weight": np.ones(60)}), "training data"),
        (dict(fit={"class_weight": {0: 2.0, 1: 1.0, 2: 1.0}}), "class_weight"),
        (dict(fit={"steps_per_epoch": np.int64(1)}), "steps_per_epoch"),
        (dict(fit={"shuffle": False}), "shuffle"),
        (dict(validation_data=(2 * blobs(45, seed=1)[0], blobs(45, seed=1)[1])), "validation inputs"),
        (dict(validation_data=(*blobs(45, seed=1), np.ones(45))), "validation labels"),
        (dict(objective=keras_tuner.Objective("val_accuracy", "max")), "objective"),
        (dict(output_activation="softmax"), "output_activation"),
    ],
)
def test_other_data_and_objectives_are_refused(arguments, part, directory):
    with pytest.raises(ValueError, match=rf"differs in \['{part}'\]"):
        search(directory, **arguments)


def test_what_changes_no_result_is_the_same_search(directory, monkeypatch):
    before = essence(search(directory).candidates)
    monkeypatch.setattr(keras.Model, "fit", None)  # nothing is trained
    validation = tf.data.Dataset.from_tensor_slices(blobs(45, seed=1)).batch(7)
    for arguments in (
        dict(validation_data=validation),
        dict(hypermodel=recompiled(run_eagerly=False, steps_per_execution=2)),
        dict(hypermodel=changed(lambda model: setattr(model, "name", "other"))),
    ):
        assert essence(search(directory, **arguments).candidates) == before


def test_another_metric_scores_what_is_there_again(directory, monkeypatch):
    builder = search(directory)
    (nll,) = [each.score for each in builder.candidates]
    monkeypatch.setattr(keras.Model, "fit", None)
    (accuracy,) = [each.score for each in search(directory, metric="accuracy").candidates]
    (probabilities,) = builder.pool.predictions(builder.candidates[0])
    np.testing.assert_allclose(accuracy, (probabilities.argmax(-1) != blobs(45, seed=1)[1]).mean())
    assert [each.score for each in search(directory).candidates] == [pytest.approx(nll)]


def test_digests_of_data_see_values_shapes_order_and_structure():
    values = np.random.default_rng(0).normal(size=(50, 300)).astype("float32")
    same = [values, values.copy(), np.asfortranarray(values), tf.constant(values), np.repeat(values, 2, 0)[::2]]
    assert len({digest_of((each, None)) for each in same}) == 1
    moved = values.copy()
    moved[[7, 8]] = moved[[8, 7]]
    touched = values.copy()
    between = set(range(values.size)) - set(np.linspace(0, values.size - 1, PLACES).astype(int).tolist())
    touched.reshape(-1)[min(between)] += 1e-3  # which only the sum sees
    others = [values[:-1], values.reshape(300, 50), values.astype("float64"), moved, touched, values > 0, None]
    digests = {digest_of(each) for each in [values, *others, {"a": values}, {"b": values}, [values, values]]}
    assert len(digests) == 11
    batched = tf.data.Dataset.from_tensor_slices(values).batch(10)
    assert digest_of(batched) == digest_of(batched.shuffle(50)) != digest_of(batched.take(3))
    assert digest_of(np.array(["a", "b"])) != digest_of(np.array(["a", "c"]))


def test_digests_of_models_do_not_see_names_of_layers_and_classes_without_configuration():
    class Own(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return keras.ops.mean(y_pred, -1)

    class Subclassed(keras.Model):
        def __init__(self, units):
            super().__init__()
            self.dense = keras.layers.Dense(units)
            self.dense.build((None, 3))

    def compiled(units, loss):
        inputs = keras.Input((3,))
        model = keras.Model(inputs, keras.layers.Lambda(lambda x: 2 * x)(keras.layers.Dense(units)(inputs)))
        model.compile("adam", loss)
        return model_digests(model)

    assert compiled(2, "mse") == compiled(2, "mse") != compiled(3, "mse")
    assert compiled(2, Own()) == compiled(2, Own()) != compiled(2, "mse")
    assert compiled(2, lambda a, b: b) == compiled(2, lambda a, b: b)
    assert model_digests(Subclassed(2)) == model_digests(Subclassed(2)) != model_digests(Subclassed(3))


def test_inputs_of_validation_have_one_digest_in_any_batches():
    x, y = blobs(45)
    batches = [tf.data.Dataset.from_tensor_slices((x, y)).batch(size) for size in (7, 45)]
    assert len({ValidationRows(each).inputs for each in [(x, y), *batches, (x + 1, y)]}) == 2


def test_what_is_not_compared_of_a_dataset_is_said(tmp_path, capsys):
    dataset = tf.data.Dataset.from_tensor_slices(blobs()).batch(30)
    for times in range(2):
        search(tmp_path, data=(dataset,), fit={"batch_size": None, "verbose": 1, "shuffle": False})
        assert ("for a training dataset only shapes" in capsys.readouterr().out) == bool(times)
