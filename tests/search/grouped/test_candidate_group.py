"""Candidates as members of one network: each as if it were alone."""

import keras
import numpy as np
import pytest

from keras_hyperens.conversion.probing import facts_of
from keras_hyperens.search.grouped.candidate_group import CandidateGroup
from keras_hyperens.search.grouped.joint import IncompatibleModelsError
from keras_hyperens.search.grouped.joint import sites_of
from keras_hyperens.search.grouped.joint import structure_of
from tests.search.problem import blobs

M, STEPS, B = 3, 10, 6
RATES = (0.002, 0.01, 0.05)
OPTIMIZERS = {
    "sgd": keras.optimizers.SGD,
    "momentum": lambda rate: keras.optimizers.SGD(rate, momentum=0.9, nesterov=True),
    "adam": lambda rate: keras.optimizers.Adam(rate, clipvalue=0.5),
    "adamw": lambda rate: keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(rate, 2 * STEPS), 0.1),
    "rmsprop": lambda rate: keras.optimizers.RMSprop(rate, momentum=0.5, centered=True),
    "adagrad": keras.optimizers.Adagrad,
    "nadam": keras.optimizers.Nadam,
    "schedule": lambda rate: keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, 2 * STEPS)),
}


def make(number, optimizer=keras.optimizers.SGD, layers=None, smoothing=True, **compiled):
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(number)
    strength = 0.02 * number
    default = [
        keras.layers.Dense(8, "relu", kernel_regularizer=keras.regularizers.L2(strength)),
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.0),
        keras.layers.Dense(3, kernel_regularizer=keras.regularizers.L1(strength), bias_regularizer="l2"),
    ]
    model = keras.Sequential([keras.Input((2,)), *(default if layers is None else layers(number))])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    if smoothing:
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1 * number)
    model.compile(optimizer(RATES[number]), loss, metrics=["accuracy"], **compiled)
    return model


def rows(count=STEPS * B, smoothing=True):
    x, y = blobs(count)
    return x, np.eye(3, dtype="float32")[y] if smoothing else y


def group_of(models, data, ensemble_size=M):
    facts = [facts_of(model) for model in models]
    assert len({structure_of(model, each) for model, each in zip(models, facts)}) == 1
    group = CandidateGroup(models[0], sites_of(facts), ensemble_size, (*(part[:2] for part in data), None))
    group.start(models, facts, seed=0, steps=2 * STEPS)
    return group


def check_as_if_alone(group, models, data, validation, epochs=1, **arguments):
    """Trains both ways; afterwards the models have their own, lone weights."""
    arguments = {"batch_size": B, "shuffle": False, "verbose": 0, "epochs": epochs, **arguments}
    history = group.fit(*data, validation_data=validation, **arguments).history
    for number, model in enumerate(models):
        before = model.get_weights()
        group.release(number, model)
        trained = model.get_weights()
        model.set_weights(before)
        model.run_eagerly = True  # once: to trace it would take longer
        alone = model.fit(*data, validation_data=validation, **arguments).history
        for mine, theirs in zip(trained, model.get_weights(), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)
        assert set(alone) == set(history)
        for name in alone:
            np.testing.assert_allclose([epoch[number] for epoch in history[name]], alone[name], rtol=1e-4, atol=1e-5)


QUICK = ("adamw",)


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.integration) for name in OPTIMIZERS]
)
def test_ten_steps_are_those_of_a_model_alone(name):
    models = [make(number, OPTIMIZERS[name]) for number in range(M)]
    data = rows()
    check_as_if_alone(group_of(models, data), models, data, rows(12))


@pytest.mark.integration
def test_a_second_group_takes_over_the_graph():
    data = rows()
    group = group_of([make(number, OPTIMIZERS["momentum"]) for number in range(M)], data)
    group.fit(*data, batch_size=B, verbose=0)
    traced = group.train_function
    models = [make(number, OPTIMIZERS["momentum"]) for number in (2, 0, 1)]
    group.start(models, [facts_of(model) for model in models], seed=1, steps=None)
    check_as_if_alone(group, models, data, rows(12), epochs=2)
    assert group.train_function is traced


def conv(number):
    return [
        keras.layers.Reshape((2, 1, 1)),
        keras.layers.Conv2D(4, (2, 1), padding="same", kernel_regularizer=keras.regularizers.L1L2(1e-3, 1e-2 * number)),
        keras.layers.LayerNormalization(),
        keras.layers.MaxPooling2D((2, 1)),
        keras.layers.Flatten(),
        keras.layers.Dense(3, kernel_constraint="max_norm"),
    ]


def recurrent(number):
    return [
        keras.layers.Reshape((2, 1)),
        keras.layers.GRU(3, kernel_regularizer=keras.regularizers.L2(1e-2 * number), return_sequences=True),
        keras.layers.Bidirectional(keras.layers.LSTM(2)),
        keras.layers.Dense(3),
    ]


@pytest.mark.parametrize("layers", [conv, recurrent])
@pytest.mark.integration
def test_other_layers(layers):
    models = [make(number, OPTIMIZERS["adam"], layers, smoothing=False) for number in range(M)]
    data, validation = rows(smoothing=False), rows(12, smoothing=False)
    weights = np.linspace(0.5, 2.0, len(data[0]))
    check_as_if_alone(group_of(models, data), models, data, validation, sample_weight=weights)


def functional(number, weight=0.5):
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(number)
    inputs = keras.Input((2,))
    hidden = keras.layers.Dense(4, "tanh")(inputs)
    hidden = keras.layers.Add()([hidden, keras.layers.Dense(4)(hidden)])
    outputs = [keras.layers.Dense(3, name="kind")(hidden), keras.layers.Dense(1, name="size")(hidden)]
    model = keras.Model(inputs, outputs)
    loss = [keras.losses.SparseCategoricalCrossentropy(from_logits=True), "mse"]
    model.compile(keras.optimizers.Adam(0.01), loss, loss_weights=[1.0, weight], metrics=[["accuracy"], ["mae"]])
    return model


@pytest.mark.integration
def test_several_outputs():
    x, kind = blobs(STEPS * B)
    sizes = x[:, :1]
    models = [functional(number) for number in range(M)]
    facts = [facts_of(model) for model in models]
    group = CandidateGroup(models[0], sites_of(facts), M, (x[:2], [kind[:2], sizes[:2]], None))
    group.start(models, facts, 0, None)
    check_as_if_alone(group, models, (x, [kind, sizes]), (x[:12], [kind[:12], sizes[:12]]))
    other = functional(0, weight=0.1)  # logs would be of the weighted losses
    assert structure_of(other, facts_of(other)) != structure_of(models[0], facts[0])


def two_layers(number):
    return [keras.layers.Dense(4, "relu"), keras.layers.Dense(3)]


def test_a_member_that_diverges_leaves_the_others_alone():
    data = rows()
    models = [make(number, OPTIMIZERS["adam"], two_layers) for number in range(M)]
    group = group_of(models, data)
    rates = group.optimizer.rates.numpy()
    group.optimizer.rates.assign(np.where([False, True, False], np.nan, rates))
    group.fit(*data, batch_size=B, shuffle=False, verbose=0)
    for number in (0, 2):
        before = models[number].get_weights()
        group.release(number, models[number])
        trained = models[number].get_weights()
        models[number].set_weights(before)
        models[number].run_eagerly = True
        models[number].fit(*data, batch_size=B, shuffle=False, verbose=0)
        np.testing.assert_allclose(trained[0], models[number].get_weights()[0], rtol=1e-4, atol=1e-5)
    group.release(1, models[1])
    assert np.isnan(models[1].get_weights()[0]).all()


def test_the_best_weights_of_each_member_are_kept():
    data = rows()
    models = [make(number, layers=two_layers) for number in range(M)]
    group = group_of(models, data)
    first = [variable.numpy() for variable in group.network.weights]
    kept = group.keep([0, 1, 2])
    group.fit(*data, batch_size=B, verbose=0)
    last = [variable.numpy() for variable in group.network.weights]
    group.restore(group.keep([1], kept))
    for variable, old, new in zip(group.network.weights, first, last, strict=True):
        if variable.shape[0] == M and len(variable.shape) > 1:
            np.testing.assert_array_equal(variable, np.stack([old[0], new[1], old[2]]))


def test_noise_is_of_the_seed():
    def dropped(number):
        return [keras.layers.Dense(8, "relu"), keras.layers.Dropout(0.3 * number), keras.layers.Dense(3)]

    data = rows()
    models = [make(number, layers=dropped) for number in range(M)]
    facts = [facts_of(model) for model in models]
    group = group_of(models, data)

    def trained(seed):
        group.start(models, facts, seed, None)
        return np.asarray(group.fit(*data, batch_size=B, shuffle=False, verbose=0).history["loss"][0])

    first, again, other = trained(3), trained(3), trained(4)
    np.testing.assert_array_equal(first, again)
    assert first[0] == other[0] and (first[1:] != other[1:]).all()  # member 0 drops nothing


class Lookahead(keras.optimizers.SGD):
    pass


class Mixing(keras.layers.Layer):
    def call(self, inputs):
        return inputs - keras.ops.mean(inputs, axis=0)


REFUSED = {
    "Lookahead": lambda: make(1, Lookahead),
    "`clipnorm` of the optimizer": lambda: make(1, lambda rate: keras.optimizers.SGD(rate, clipnorm=1.0)),
    "`global_clipnorm`": lambda: make(1, lambda rate: keras.optimizers.SGD(rate, global_clipnorm=1.0)),
    "combine several weights": lambda: make(1, keras.optimizers.Lamb),
    "eagerly": lambda: make(1, run_eagerly=True),
    "slopes": lambda: make(1, layers=lambda _: [keras.layers.Dense(3), keras.layers.PReLU(name="slopes")]),
    "function that processes the samples": lambda: make(
        1, layers=lambda _: [keras.layers.Dense(3), keras.layers.Lambda(lambda rows: rows - 1.0)]
    ),
    "may mix samples": lambda: make(1, layers=lambda _: [Mixing(), keras.layers.Dense(3)]),
    "penalty on its outputs": lambda: make(1, layers=lambda _: [keras.layers.Dense(3, activity_regularizer="l2")]),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_would_not_be_as_if_alone_is_refused(reason):
    model = REFUSED[reason]()
    data = rows(4)
    with pytest.raises(IncompatibleModelsError, match=reason):
        CandidateGroup(model, sites_of([facts_of(model)]), 2, (data[0], data[1], None))


def test_structures():
    def named(number, rate=0.1, skip=True):
        keras.utils.clear_session(free_memory=False)
        inputs = keras.Input((4,))
        first = keras.layers.Dense(4, kernel_regularizer=keras.regularizers.L2(1e-3 * number))(inputs)
        second = keras.layers.Dropout(rate)(keras.layers.Dense(4)(first))
        model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Add()([second, first if skip else inputs])))
        model.compile(keras.optimizers.Adam(0.1 * number), "mse")
        return structure_of(model, facts_of(model))

    assert named(1) == named(2) == named(1, rate=0.4) != named(1, skip=False)
    model, wider = (make(1, layers=lambda _, units=units: [keras.layers.Dense(units)]) for units in (4, 5))
    assert structure_of(model, facts_of(model)) != structure_of(wider, facts_of(wider))


@pytest.mark.integration
def test_a_frozen_layer_is_shared_if_it_is_the_same():
    def frozen(number):
        layer = keras.layers.Dense(4, "tanh", kernel_initializer=keras.initializers.RandomNormal(seed=number))
        layer.trainable = False
        return [layer, keras.layers.Dense(3)]

    data = rows()
    models = [make(number, layers=lambda _: frozen(0)) for number in range(M)]
    group = group_of(models, data)
    assert len(group.network.trainable_variables) == 2
    check_as_if_alone(group, models, data, rows(12))
    models = [make(number, layers=lambda _, number=number: frozen(number)) for number in range(M)]
    with pytest.raises(IncompatibleModelsError, match="other weights in each model"):
        group.start(models, [facts_of(model) for model in models], 0, None)
