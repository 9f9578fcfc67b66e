"""Files: exact continuation, formats, and what other processes can load."""

import json
import zipfile
from collections import Counter

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_hyperens as khe
from tests.models.networks import LOGITS
from tests.models.networks import Subclassed
from tests.models.networks import blobs
from tests.models.networks import compiled
from tests.models.networks import conv_network
from tests.models.networks import dense_network
from tests.models.networks import images
from tests.serving import predicted_elsewhere

CONTINUED = {
    "dense": (dense_network, blobs, {"tuning_every": 2, "tuning_optimizer": keras.optimizers.SGD(0.01, momentum=0.9)}),
    "conv": (conv_network, images, {"tuning_every": 2, "optimizer": "adamw", "sampling": "example"}),
    "subclassed": (Subclassed, blobs, {"tuning_every": 2, "tuning_warmup": 3}),
}


@pytest.mark.parametrize(
    "case", ["dense", *(pytest.param(case, marks=pytest.mark.integration) for case in CONTINUED if case != "dense")]
)
def test_training_continued_from_a_file_equals_training_that_was_not_stopped(case, tmp_path):
    make, data, arguments = CONTINUED[case]
    # Eagerly, because a graph adds up gradients in the order in which threads happen to have them.
    ensemble, (x, y) = compiled(make(), run_eagerly=True, **arguments), data()

    def train(model, epochs):
        return model.fit(x, y, batch_size=16, epochs=epochs, tuning_split=0.25, shuffle=False, verbose=0)

    train(ensemble, 2)
    ensemble.save(tmp_path / "e.keras")
    loaded = keras.models.load_model(tmp_path / "e.keras")
    assert loaded._trainer.settings == ensemble._trainer.settings
    histories = [train(model, 1).history for model in (ensemble, loaded)]
    assert histories[0] == histories[1]
    for left, right in zip(ensemble.variables, loaded.variables):
        np.testing.assert_array_equal(left, right, err_msg=left.path)
    for optimizer in ("optimizer", "tuning_optimizer"):
        for left, right in zip(getattr(ensemble, optimizer).variables, getattr(loaded, optimizer).variables):
            np.testing.assert_array_equal(left, right, err_msg=left.path)


@pytest.mark.integration
def test_backup_and_restore_continues_an_interrupted_fit(tmp_path):
    x, y = blobs(64)

    class Interrupt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    def train(ensemble, *callbacks):
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
        ensemble.fit(
            x, y, 64, tuning_split=0.25, epochs=4, shuffle=False, callbacks=[*callbacks, backup], verbose=0
        )  # the interruption comes before the third backup
        return ensemble.get_weights()

    # Eagerly, as above; in a graph: test_multi_worker.py. A window of batches is in no backup.
    settings = {"member_rows": "same", "run_eagerly": True}
    keras.utils.set_random_seed(1)
    undisturbed = compiled(**settings)
    undisturbed.fit(x, y, 64, tuning_split=0.25, epochs=4, shuffle=False, verbose=0)
    keras.utils.set_random_seed(1)
    with pytest.raises(KeyboardInterrupt):
        train(compiled(**settings), Interrupt())
    restored = train(compiled(**settings))
    for left, right in zip(restored, undisturbed.get_weights()):
        np.testing.assert_allclose(left, right, atol=1e-6)


@pytest.mark.integration
def test_model_checkpoint_keeps_the_best(tmp_path):
    ensemble, (x, y) = compiled(run_eagerly=True), blobs()
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", "val_loss", save_best_only=True)
    history = ensemble.fit(
        x, y, tuning_split=0.25, validation_data=(x, y), epochs=3, callbacks=[checkpoint], verbose=0
    ).history
    best = keras.models.load_model(tmp_path / "best.keras")
    np.testing.assert_allclose(best.evaluate(x, y, verbose=0), min(history["val_loss"]), rtol=1e-5)


def test_a_file_of_another_format_is_refused(tmp_path):
    ensemble = compiled()
    ensemble.save(tmp_path / "e.keras")
    with zipfile.ZipFile(tmp_path / "e.keras") as source, zipfile.ZipFile(tmp_path / "f.keras", "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "config.json":
                config = json.loads(content)
                config["config"]["format_version"] = 99
                content = json.dumps(config)
            target.writestr(name, content)
    with pytest.raises((ValueError, TypeError), match="format_version=99"):
        keras.models.load_model(tmp_path / "f.keras")


def test_weights_alone(tmp_path):
    ensemble, (x, _) = varied(compiled(run_eagerly=True)), blobs()
    ensemble.save_weights(tmp_path / "e.weights.h5")
    other = compiled(seed=9, run_eagerly=True)
    other.load_weights(tmp_path / "e.weights.h5")
    np.testing.assert_allclose(other.predict(x, verbose=0), ensemble.predict(x, verbose=0), atol=1e-6)


@pytest.fixture(scope="module")
def trained():
    keras.utils.set_random_seed(0)
    ensemble, (x, y) = compiled(conv_network(), run_eagerly=True), images()
    ensemble.fit(x, y, tuning_split=0.25, verbose=0)
    return ensemble, x


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    """The directory of its export."""
    directory = tmp_path_factory.mktemp("exported") / "served"
    trained[0].export(directory)
    return directory


def varied(ensemble):
    """The ensemble as after some training: no weight at an initial value that could hide a mistake."""
    random = np.random.default_rng(0)
    ensemble.network.set_weights([random.uniform(0.2, 0.9, w.shape) for w in ensemble.network.get_weights()])
    return ensemble


def test_export_gives_predictions_members_and_uncertainty_for_any_batch_size(trained, exported):
    ensemble, x = trained
    served = tf.saved_model.load(exported)
    assert set(served.signatures) == {"serving_default", "uncertainty"}
    for rows in (1, 7, len(x)):
        part = tf.constant(x[:rows])
        outputs = served.signatures["uncertainty"](inputs=part)
        members = ensemble.predict_members(x[:rows], verbose=0)
        np.testing.assert_allclose(np.swapaxes(outputs["members"], 0, 1), members, atol=1e-5)
        np.testing.assert_allclose(outputs["prediction"], members.mean(0), atol=1e-5)
        np.testing.assert_allclose(
            outputs["predictive_entropy"], khe.uncertainty.predictive_entropy(members), atol=1e-4
        )
        np.testing.assert_allclose(
            outputs["mutual_information"], khe.uncertainty.mutual_information(members), atol=1e-4
        )
        np.testing.assert_allclose(
            served.signatures["serving_default"](inputs=part)["prediction"], members.mean(0), atol=1e-5
        )
        np.testing.assert_allclose(served.serve(part), members.mean(0), atol=1e-5)


def test_export_stores_folded_kernels_and_no_embedding(exported):
    variables = tf.train.list_variables(str(exported / "variables" / "variables"))
    shapes = Counter(tuple(shape) for _, shape in variables if len(shape) > 1)
    assert shapes == {(3, 3, 1, 4): 3, (1, 1, 4): 3, (64, 3): 3, (1, 1, 3): 3}  # one of each for every member
    functions = tf.saved_model.load(exported).signatures["serving_default"].graph.as_graph_def().library.function
    operations = {node.op for function in functions for node in function.node_def}
    assert "Conv2D" in operations and "Einsum" not in operations


def test_export_of_shared_kernels_is_smaller_and_gives_the_same(tmp_path):
    def networks():
        members = {
            "ensemble_size": 8,
            "space": khe.HyperparameterSpace([khe.Hyperparameter("l2", 1e-6, 1, "log")]),
        }
        layers = [khe.HyperBatchDense(256, **members), khe.HyperBatchDense(256, kernel_l2="l2", **members)]
        return keras.Sequential([keras.Input((64,)), *layers]), members

    network, members = networks()
    ensemble = khe.HyperBatchEnsemble(network, **members, output_activation="softmax", seed=0)
    ensemble.run_eagerly = True
    x, sizes = np.random.default_rng(0).normal(size=(200, 64)).astype("float32"), []
    for folded in (True, False):
        ensemble.export(tmp_path / str(folded), folded=folded)
        served = tf.saved_model.load(tmp_path / str(folded))
        for rows in (1, 200):
            np.testing.assert_allclose(served.serve(x[:rows]), ensemble.predict(x[:rows], verbose=0), atol=1e-5)
        sizes.append(sum(file.stat().st_size for file in (tmp_path / str(folded) / "variables").iterdir()))
    assert sizes[1] < 0.35 * sizes[0]


@pytest.mark.parametrize(
    ("make", "arguments", "outputs"),
    [
        (lambda: dense_network(1), {"loss": "mse"}, {"prediction", "members", "variance"}),
        (
            lambda: dense_network(3),
            {"loss": keras.losses.BinaryCrossentropy(from_logits=True)},
            {"prediction", "members", "predictive_entropy", "expected_entropy", "mutual_information"},
        ),
    ],
)
def test_export_of_other_tasks(make, arguments, outputs, tmp_path):
    ensemble, (x, _) = varied(compiled(make(), run_eagerly=True, **arguments)), blobs()
    ensemble.export(tmp_path / "served")
    served = tf.saved_model.load(tmp_path / "served").signatures["uncertainty"](inputs=tf.constant(x))
    assert set(served) == outputs
    members = ensemble.predict_members(x, verbose=0)
    if "variance" in outputs:
        np.testing.assert_allclose(served["variance"], members.var(0), atol=1e-4)
    else:
        p = members.mean(0)
        np.testing.assert_allclose(served["predictive_entropy"], -(p * np.log(p) + (1 - p) * np.log(1 - p)), atol=1e-4)


def test_export_of_a_subclassed_network_replaces_an_older_one(tmp_path):
    ensemble, (x, _) = compiled(Subclassed()), blobs()
    ensemble._trainer.build(tf.TensorSpec((None, 4)))
    for _ in range(2):
        ensemble.export(tmp_path / "served")
    served = tf.saved_model.load(tmp_path / "served")
    np.testing.assert_allclose(served.serve(x), ensemble.predict(x, verbose=0), atol=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["served"]


@pytest.mark.integration
@pytest.mark.skipif(tuple(map(int, keras.__version__.split(".")[:2])) < (3, 13), reason="Keras 3.13 brought LiteRT")
@pytest.mark.filterwarnings("ignore")  # of TensorFlow's interpreter
def test_keras_own_export_to_litert(trained, tmp_path):
    ensemble, x = trained
    ensemble.export(tmp_path / "e.tflite", format="litert", verbose=False)
    interpreter = tf.lite.Interpreter(str(tmp_path / "e.tflite"))
    inputs, outputs = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    for rows in (1, 5):
        interpreter.resize_tensor_input(inputs, [rows, 6, 6, 1])
        interpreter.allocate_tensors()
        interpreter.set_tensor(inputs, x[:rows])
        interpreter.invoke()
        np.testing.assert_allclose(interpreter.get_tensor(outputs), ensemble.predict(x[:rows], verbose=0), atol=1e-5)


def test_export_needs_a_known_batch(tmp_path):
    with pytest.raises(ValueError, match="call the ensemble on one first"):
        compiled(Subclassed()).export(tmp_path / "served")


def test_export_under_mixed_precision(trained, tmp_path, mixed_float16):
    ensemble, x = compiled(conv_network()), trained[1]
    ensemble.network.set_weights(trained[0].network.get_weights())
    ensemble.export(tmp_path / "served")
    served = tf.saved_model.load(tmp_path / "served")
    np.testing.assert_allclose(served.serve(x), ensemble.predict(x, verbose=0), atol=2e-3)


@pytest.mark.integration
def test_export_loads_in_a_process_without_this_package(trained, tmp_path):
    ensemble, x = trained
    np.testing.assert_allclose(predicted_elsewhere(ensemble, x, tmp_path), ensemble.predict(x, verbose=0), atol=1e-5)


def test_settings_survive_the_file(tmp_path):
    ensemble = compiled(
        member_loss="ensemble", sampling="example", tuning_every=7, entropy_weight=0.25, metrics=["accuracy"],
        member_metrics=[keras.metrics.SparseCategoricalAccuracy(name="m")], fast_weight_learning_rate=0.5,
        optimizer=keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(0.01, 10)), loss=LOGITS,
        run_eagerly=True,
    )  # fmt: skip
    ensemble.save(tmp_path / "e.keras")
    loaded = keras.models.load_model(tmp_path / "e.keras")
    assert loaded._trainer.settings == ensemble._trainer.settings
    assert isinstance(loaded.optimizer, keras.optimizers.AdamW)
    assert loaded.tuning_optimizer.learning_rate == ensemble.tuning_optimizer.learning_rate
    x, y = blobs()
    assert {"accuracy", "m", "loss"} == set(loaded.evaluate(x, y, return_dict=True, verbose=0))


def network_to_serve(name):
    """A network with kinds of layers that an export calls in another way than a prediction does."""
    members = {
        "ensemble_size": 3,
        "space": khe.HyperparameterSpace([khe.Hyperparameter("l2", 1e-6, 1e-2, "log")]),
    }
    own = {"ensemble_size": 3}

    def residual(inputs):
        rows = khe.HyperBatchConv2D(2, 3, padding="same", **members)(inputs)
        rows = khe.layers.MemberBatchNormalization(**own)(rows)
        return khe.HyperBatchDense(3, **members)(keras.layers.Flatten()(inputs + rows))

    def recurrent(inputs):
        rows = khe.layers.HyperBatchLSTM(4, return_sequences=True, dropout=0.2, **members)(inputs)
        rows = khe.layers.HyperBatchMultiHeadAttention(2, 3, **members)(rows, rows)
        rows = khe.layers.HyperBatchTimeDistributed(khe.HyperBatchDense(3, **members))(rows)
        return khe.HyperBatchDense(3, sharing="independent", **own)(rows[:, -1])

    def words(inputs):
        rows = khe.layers.HyperBatchEmbedding(2, 4, **members)(inputs)
        rows = khe.layers.MemberLayerNormalization(**own)(rows)
        return khe.layers.HyperBatchEinsumDense("abc,bcd->ad", (3,), **members)(rows)

    shapes = {"residual": ((4, 4, 2), "float32"), "recurrent": ((5, 2), "float32"), "words": ((5,), "int32")}
    shape, dtype = shapes[name]
    inputs = keras.Input(shape, dtype=dtype)
    return keras.Model(inputs, {"residual": residual, "recurrent": recurrent, "words": words}[name](inputs)), members


@pytest.mark.parametrize("name", ["residual", pytest.param("recurrent", marks=pytest.mark.integration), "words"])
def test_an_export_calls_every_kind_of_layer_for_one_member_at_a_time(name, tmp_path):
    network, members = network_to_serve(name)
    random = np.random.default_rng(0)
    network.set_weights([random.uniform(0.2, 0.9, w.shape).astype("float32") for w in network.get_weights()])
    ensemble = khe.HyperBatchEnsemble(network, **members, output_activation="softmax", seed=0)
    x = random.integers(0, 2, (6, *network.input_shape[1:])).astype(network.inputs[0].dtype)
    expected = ensemble.predict_members(x, verbose=0)
    assert np.abs(expected - expected[:1]).max() > 1e-4
    ensemble.export(tmp_path / "served")
    members_of = tf.saved_model.load(tmp_path / "served").signatures["uncertainty"]
    for rows in (1, 6):
        name = next(iter(members_of.structured_input_signature[1]))
        outputs = members_of(**{name: tf.constant(x[:rows])})["members"]
        np.testing.assert_allclose(np.swapaxes(outputs, 0, 1), expected[:, :rows], atol=1e-5)
