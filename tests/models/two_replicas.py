"""Trains the same ensembles on one device and on two, and writes what came out: a program for `test_replicas.py`.

Logical devices are set before TensorFlow starts, so it has a process to itself. With `same_draws`, replicas take the
draws that one device would take for their rows.
"""

import json
import pathlib
import sys
from contextlib import nullcontext

import benchmarks  # noqa: F401  TensorFlow starts without a word

# isort: split
import keras
import numpy as np
import tensorflow as tf

import keras_hyperens as khe
from keras_hyperens.models.training import draws
from keras_hyperens.models.training import tuning_step
from keras_hyperens.models.training import weight_step
from keras_hyperens.models.training.replicas import replica_number
from tests.models.networks import LOGITS
from tests.models.networks import blobs
from tests.models.networks import compiled
from tests.models.networks import dense_network
from tests.models.networks import members

X, Y = blobs(64)
X_VALIDATION, Y_VALIDATION = blobs(53, seed=1)  # the last batch of 16 has 5 rows: 3 and 2
WEIGHTS = np.random.default_rng(2).uniform(0.2, 2, 64).astype("float32")
SUM = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum")
draw_of_replica = draws.draw


def draw_by(draw):
    """Has both steps take their draws from a function."""
    for step in (weight_step, tuning_step):
        step.draw = draw


def same_draws(ensemble, bounds, rows, purpose):
    by_row = ensemble._trainer.settings.sampling == "example"
    draws.replica_number = lambda: 0
    replicas = tf.distribute.get_strategy().num_replicas_in_sync if by_row else 1
    values = draw_of_replica(ensemble, bounds, rows * replicas, purpose)
    draws.replica_number = replica_number
    first = replica_number() * rows
    return values[:, first : first + rows] if by_row else values


def network():
    penalized = {"kernel_regularizer": keras.regularizers.L2(0.01), "activation": "relu"}
    return keras.Sequential(
        [
            keras.Input((4,)),
            khe.HyperBatchDense(8, activation="relu", kernel_l2="l2", bias_l2="l2", **members()),
            keras.layers.Dense(6, **penalized),
            khe.HyperBatchDense(3, kernel_l2="rate", **members()),
        ]
    )


def ensemble(**arguments):
    return compiled(
        network(),
        metrics=["accuracy"],
        weighted_metrics=[keras.metrics.SparseCategoricalAccuracy(name="weighted")],
        member_metrics=[keras.metrics.SparseCategoricalCrossentropy(name="members"), khe.metrics.GibbsLoss()],
        **arguments,
    )


def train_member():
    """Arrays and sample weights; a learning rate of tuning that shows whether gradients are summed."""
    model = ensemble(
        optimizer=keras.optimizers.SGD(0.05, momentum=0.9), tuning_optimizer=keras.optimizers.SGD(0.02, momentum=0.9),
        tuning_every=2, fast_weight_learning_rate=0.5, member_rows="same",
    )  # fmt: skip
    data = {"sample_weight": WEIGHTS, "tuning_data": (X, Y), "validation_data": (X_VALIDATION, Y_VALIDATION)}
    history = model.fit(X, Y, batch_size=16, epochs=3, shuffle=False, verbose=0, **data)
    return model, history.history


def train_example():
    """Batches of `tf.data`, distinct for members, a sum as the loss, a draw for each row, Adam, a temperature."""
    model = ensemble(
        optimizer="adam", loss=SUM, sampling="example", tuning_loss="member", tuning_every=1, tune_temperature=True
    )
    rows = tf.data.Dataset.from_tensor_slices((X, Y)).batch(16)
    return model, model.fit(rows, epochs=2, tuning_data=(X[:21], Y[:21]), verbose=0).history


def train_plain():
    """A plain Keras model: what Keras itself holds equal."""
    penalized = {"kernel_regularizer": keras.regularizers.L2(0.01)}
    layers = [keras.layers.Dense(8, activation="relu", **penalized), keras.layers.Dense(3, **penalized)]
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), LOGITS, metrics=["accuracy"])
    data = {"sample_weight": WEIGHTS, "validation_data": (X_VALIDATION, Y_VALIDATION)}
    return model, model.fit(X, Y, batch_size=16, epochs=3, shuffle=False, verbose=0, **data).history


def variables_of(model):
    tuning = getattr(model, "tuning_optimizer", None)
    return [*model.weights, *model.optimizer.variables, *(tuning.variables if tuning else ())]


def copies_differ(strategy, model):
    """Paths of variables that are not the same on all replicas."""
    pairs = ((variable.path, strategy.experimental_local_results(variable.value)) for variable in variables_of(model))
    return [path for path, copies in pairs if not all(np.array_equal(copies[0], copy) for copy in copies)]


def compare(name, train, strategy, directory):
    """Results of one training on one device and of the same on all of the strategy's."""
    results = {}
    for where, scope in (("one", nullcontext()), ("two", strategy.scope())):
        keras.utils.set_random_seed(0)
        with scope:
            model, history = train()
        predictions = {"predict": model.predict(X_VALIDATION, batch_size=16, verbose=0)}
        if name == "member":
            predictions["members"] = model.predict_members(X_VALIDATION, batch_size=16, verbose=0)
            predictions |= model.predict_uncertainty(X_VALIDATION, batch_size=16, verbose=0)
            model.save(directory / f"{where}.keras")
        variables = {str(number): variable.numpy() for number, variable in enumerate(variables_of(model))}
        np.savez(directory / f"{name}-{where}.npz", **variables, **predictions)
        results[where] = {key: [float(value) for value in values] for key, values in history.items()}
    return {**results, "copies_differ": copies_differ(strategy, model)}


def own_draws(strategy):
    """Draws of each replica by itself, and what training with them leaves different on replicas."""
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = compiled(dense_network(), tuning_every=2, optimizer=keras.optimizers.AdamW(0.03))
    bounds = model.distribution.bounds()
    drawn = strategy.run(tf.function(lambda: draws.draw(model, bounds, 1, draws.TRAINING_DRAW)))
    history = model.fit(X, Y, batch_size=32, epochs=4, shuffle=False, tuning_data=(X, Y), verbose=0).history
    iterations = strategy.experimental_local_results(model.tuning_optimizer.iterations.value)
    return {
        "draws": [draw.numpy().tolist() for draw in strategy.experimental_local_results(drawn)],
        "loss": [float(loss) for loss in history["loss"]],
        "iterations": [int(copy) for copy in iterations],
        "copies_differ": copies_differ(strategy, model),
    }


def broken_replica(strategy, policy):
    """Tuning gradients of the second replica are NaN; under mixed precision those of the weights too."""
    keras.config.set_dtype_policy(policy)
    with strategy.scope():
        model = compiled(tuning_every=1, optimizer="sgd")
    gradients_of, before = model._trainer.tuning.gradients, np.stack(model.distribution.bounds())

    def broken(*arguments):
        gradients = gradients_of(*arguments)
        poison = tf.where(replica_number() == 1, float("nan"), 0.0)
        bounds = [gradient + poison for gradient in gradients.bounds]
        return gradients._replace(bounds=bounds, loss=gradients.loss + poison)

    model._trainer.tuning.gradients = broken
    x = X[:32].copy()
    if policy == "mixed_float16":
        x[16:] = 6e4  # overflows on the second replica alone
    before_weights = [variable.numpy() for variable in model.trainable_variables]
    history = model.fit(x, Y[:32], batch_size=32, shuffle=False, tuning_data=(X, Y), verbose=0).history
    keras.config.set_dtype_policy("float32")
    after_weights = [variable.numpy() for variable in model.trainable_variables]
    return {
        "moved": float(np.abs(np.stack(model.distribution.bounds()) - before).max()),
        "tuning_loss": history["tuning_loss"][-1],
        "weights_changed": not all(map(np.array_equal, before_weights, after_weights)),
        "finite": all(np.isfinite(weight).all() for weight in model.get_weights()),
        "scales": [
            float(optimizer.dynamic_scale.numpy()) if hasattr(optimizer, "dynamic_scale") else None
            for optimizer in (model.optimizer, model.tuning_optimizer)
        ],
        "copies_differ": copies_differ(strategy, model),
    }


def main():
    directory = pathlib.Path(sys.argv[1])
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    results = {"own_draws": own_draws(strategy)}
    results |= {policy: broken_replica(strategy, policy) for policy in ("float32", "mixed_float16")}
    draw_by(same_draws)
    for name, train in (("member", train_member), ("example", train_example), ("plain", train_plain)):
        results[name] = compare(name, train, strategy, directory)
    (directory / "results.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main()
