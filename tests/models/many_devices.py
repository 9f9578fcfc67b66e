"""Checks with two logical CPU devices, a program of its own: devices are set before TensorFlow starts.

python -m tests.models.many_devices      # prints the name of each check that passed
"""

import benchmarks  # noqa: F401  TensorFlow starts without a word

# isort: split
import pathlib
import tempfile
from functools import cache

import keras
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.eager import context

import keras_hyperens as khe
from benchmarks.memory import resident_bytes
from tests.models.networks import compiled
from tests.models.networks import dense_network
from tests.models.test_hyper_deep_ensemble import LOGITS
from tests.models.test_hyper_deep_ensemble import X
from tests.models.test_hyper_deep_ensemble import Y
from tests.models.test_hyper_deep_ensemble import mixed_members

DEVICES = ["CPU:0", "CPU:1"]
ROWS, BATCH = 100_003, 16_384  # the last batch has 1,699 rows, an odd number
WIDTH = 256  # of rows of 1 KiB
MIB = 2**20


@cache
def one_and_spread():
    """An ensemble of three, with everything that can be set, and its copy on two devices."""
    ensemble = khe.HyperDeepEnsemble(mixed_members(), member_weights=[1, 2, 3], combination="trimmed_mean")
    ensemble.compile(loss=LOGITS, metrics=["accuracy"])
    ensemble.calibrate(X, Y, verbose=0)
    ensemble.conformalize(X, Y, coverage=0.8, verbose=0)
    ensemble.abstain(X, answered=0.8, verbose=0)
    return ensemble, ensemble.on_devices(DEVICES)


def devices_of(model):
    return {variable.value.device.rpartition("device:")[2] for variable in model.variables}


def variables_live_where_they_should():
    ensemble, spread = one_and_spread()
    assert [devices_of(member) for member in spread.members] == [{"CPU:0"}, {"CPU:1"}, {"CPU:0"}]
    assert devices_of(ensemble) == {"CPU:0"} and ensemble.devices == ()
    assert spread.devices == ("/device:CPU:0", "/device:CPU:1")
    assert not {id(variable) for variable in spread.variables} & {id(variable) for variable in ensemble.variables}


def calls_run_where_they_should():
    """By the graphs that TensorFlow ran, one for each device."""
    _, spread = one_and_spread()
    call = tf.function(lambda x: spread(x, training=False))
    context.context().enable_run_metadata()
    call(tf.constant(X))  # the first call divides the graph
    graphs = context.context().export_run_metadata().function_graphs
    context.context().disable_run_metadata()
    ran = {
        (node.name.split("member_")[1][0], node.device.rpartition("device:")[2])
        for graph in graphs
        for part in graph.partition_graphs
        for node in part.node
        if "member_" in node.name and ("Relu" in node.name or "BiasAdd" in node.name) and "Read" not in node.name
    }
    assert ran == {("0", "CPU:0"), ("1", "CPU:1"), ("2", "CPU:0")}, ran


def results_are_those_of_one_device():
    ensemble, spread = one_and_spread()
    for name in ("predict", "predict_members"):
        of_both = [getattr(each, name)(X, batch_size=5, verbose=0) for each in (ensemble, spread)]
        np.testing.assert_allclose(*of_both, atol=1e-6)
    said = [each.predict_uncertainty(X, verbose=0) for each in (ensemble, spread)]
    for name in said[0]:
        np.testing.assert_allclose(said[0][name], said[1][name], atol=1e-6)
    answers = [each.decide(X, verbose=0) for each in (ensemble, spread)]
    assert set(answers[0]) == {"prediction", "label", "set", "refused"}
    for name in answers[0]:
        np.testing.assert_allclose(answers[0][name], answers[1][name], atol=1e-6)
    np.testing.assert_allclose(*[each.evaluate(X, Y, verbose=0) for each in (ensemble, spread)], rtol=1e-6)


def files_and_exports_name_no_device():
    ensemble, spread = one_and_spread()
    predicted = ensemble.predict(X, verbose=0)
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        spread.save(directory / "e.keras")
        loaded = keras.models.load_model(directory / "e.keras")
        assert loaded.devices == () and devices_of(loaded) == {"CPU:0"}
        np.testing.assert_allclose(loaded.predict(X, verbose=0), predicted, atol=1e-6)
        np.testing.assert_allclose(loaded.on_devices(["CPU:1"]).predict(X, verbose=0), predicted, atol=1e-6)
        spread.export(directory / "served")
        content = saved_model_pb2.SavedModel.FromString((directory / "served" / "saved_model.pb").read_bytes())
        served = tf.saved_model.load(directory / "served").signatures["serving_default"]
        np.testing.assert_allclose(served(inputs=tf.constant(X))["prediction"], predicted, atol=1e-5)
    graph = content.meta_graphs[0].graph_def
    calls = [node for function in graph.library.function for node in function.node_def] + list(graph.node)
    assert "MatMul" in {node.op for node in calls}
    assert not [node.name for node in calls if "CPU:1" in node.device or (node.op == "MatMul" and node.device)]
    assert spread.devices  # the export did not move it
    results_are_those_of_one_device()


def batches(rows, width, has_labels=False, is_counted=True):
    """Rows made when they are asked for; the first column is the row's number."""

    def made(numbers):
        row = tf.cast(numbers, tf.float32)[:, None]
        x = tf.concat([row / ROWS, tf.sin(row), tf.cos(row), tf.ones([len(numbers), width - 3])], 1)
        return (x, numbers % 3) if has_labels else x

    made_rows = tf.data.Dataset.range(rows).batch(BATCH).map(made)
    return made_rows if is_counted else made_rows.filter(lambda *_: True)


def rows_come_in_order_under_a_strategy():
    labels = np.arange(ROWS) % 3
    for ensemble, width in ((mirrored_hyper_batch(), 4), (mirrored_hyper_deep(), WIDTH)):
        x = np.concatenate(list(batches(ROWS, width).as_numpy_iterator()))
        members = np.concatenate(
            [ensemble._member_predictions(x[start : start + 50_000]) for start in range(0, ROWS, 50_000)], axis=1
        )
        for is_counted in (True, False):
            got = ensemble.predict(batches(ROWS, width, is_counted=is_counted), verbose=0)
            np.testing.assert_allclose(got, members.mean(0), atol=1e-6)
        got = ensemble.predict_members(batches(ROWS, width), verbose=0)
        np.testing.assert_allclose(got, members, atol=1e-6)
        said = ensemble.predict_uncertainty(batches(ROWS, width, is_counted=False), verbose=0)
        np.testing.assert_allclose(said["prediction"], members.mean(0), atol=1e-6)
        expected = khe.uncertainty.mutual_information(members)
        np.testing.assert_allclose(said["mutual_information"], expected, atol=1e-5)
        nll = -np.log(members.mean(0)[np.arange(ROWS), labels]).mean(dtype="float64")
        accuracy = (members.mean(0).argmax(-1) == labels).mean()
        is_counted = isinstance(ensemble, khe.HyperDeepEnsemble)  # one of them with a known length, one without
        scores = ensemble.evaluate(batches(ROWS, width, True, is_counted), verbose=0, return_dict=True)
        np.testing.assert_allclose([scores["loss"], scores["accuracy"]], [nll, accuracy], rtol=1e-4)


def decisions_under_a_strategy_are_those_of_numpy():
    ensemble, rows = mirrored_hyper_deep(), 1003  # an odd last batch
    x = next(iter(batches(rows, WIDTH))).numpy()
    labels = np.arange(rows) % 3
    p = ensemble._member_predictions(x).numpy().mean(0)
    scores = np.sort(1 - p[np.arange(rows), labels])
    found = ensemble.conformalize(x, labels, coverage=0.9, batch_size=100, verbose=0).outputs[0].thresholds[0]
    np.testing.assert_allclose(found, scores[int(np.ceil((rows + 1) * 0.9)) - 1], atol=2e-5)
    (least_sure,) = ensemble.abstain(x, answered=0.9, batch_size=100, verbose=0).thresholds
    answers = ensemble.decide(x, batch_size=100, verbose=0)
    np.testing.assert_allclose(answers["prediction"], p, atol=1e-6)
    np.testing.assert_array_equal(answers["label"], answers["prediction"].argmax(-1))
    np.testing.assert_array_equal(answers["set"], 1 - answers["prediction"] <= found)
    np.testing.assert_array_equal(answers["refused"], answers["prediction"].max(-1) < least_sure)
    assert 90 <= answers["refused"].sum() <= 100


def mirrored_hyper_batch():
    with strategy().scope():
        return compiled(dense_network(), metrics=["accuracy"])


@cache
def mirrored_hyper_deep():
    with strategy().scope():
        members = [keras.Sequential([keras.Input((WIDTH,)), keras.layers.Dense(3)]) for _ in range(2)]
        ensemble = khe.HyperDeepEnsemble(members, output_activation="softmax")
        ensemble.compile(loss=LOGITS, metrics=["accuracy"])
    return ensemble


@cache
def strategy():
    return tf.distribute.MirroredStrategy(DEVICES)


def memory_grows_with_outputs_alone():
    """98 MiB of rows: what is kept of them would show."""
    ensemble = mirrored_hyper_deep()
    data = {
        "predict": batches(ROWS, WIDTH, is_counted=False),
        "predict_members": batches(ROWS, WIDTH),
        "predict_uncertainty": batches(ROWS, WIDTH),
        "evaluate": batches(ROWS, WIDTH, has_labels=True),
    }
    for name, rows in data.items():
        call = getattr(ensemble, name)
        call(rows.take(3), verbose=0)
        before = resident_bytes()
        pathlib.Path("/proc/self/clear_refs").write_text("5")  # the largest size is counted anew
        outputs = call(rows, verbose=0)
        kept = sum(getattr(each, "nbytes", 0) for each in keras.tree.flatten(outputs))
        grown = resident_bytes("VmHWM") - before
        assert grown < 4 * kept + 64 * MIB, f"{name}: {grown / MIB:.0f} MiB for {kept / MIB:.0f} MiB of outputs"


def mistakes_are_named_before_any_work():
    ensemble, spread = one_and_spread()
    for devices in (["GPU:0"], ["CPU:0", "CPU:2"], [], "everywhere"):
        with raises("names of devices of this process, \\['CPU:0', 'CPU:1'\\]. Received: devices="):
            ensemble.on_devices(devices)
    with strategy().scope(), raises("inside the scope of"):
        ensemble.on_devices(DEVICES)
    with raises("XLA compiles for one device"):
        spread.compile(loss=LOGITS, jit_compile=True)
    with raises("must be built"):
        khe.HyperDeepEnsemble([keras.Sequential([keras.layers.Dense(2)])]).on_devices(DEVICES)
    with raises("Members are copied through a Keras file"):
        khe.HyperDeepEnsemble([with_a_function_of_its_own() for _ in range(2)]).on_devices(DEVICES)


def with_a_function_of_its_own():
    class Doubled(keras.layers.Layer):  # not importable, not registered
        def call(self, inputs):
            return 2 * inputs

    return keras.Sequential([keras.Input((4,)), Doubled(), keras.layers.Dense(3)])


def raises(message):
    import pytest

    return pytest.raises(ValueError, match=message)


CHECKS = (
    variables_live_where_they_should,
    calls_run_where_they_should,
    results_are_those_of_one_device,
    files_and_exports_name_no_device,
    memory_grows_with_outputs_alone,
    rows_come_in_order_under_a_strategy,
    decisions_under_a_strategy_are_those_of_numpy,
    mistakes_are_named_before_any_work,
)


def main():
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    for check in CHECKS:
        check()
        print(check.__name__, flush=True)


if __name__ == "__main__":
    main()
