"""What each hyperparameter drives: found with few models, and the same as one hyperparameter after the other."""

import keras
import pytest

from keras_hyperens.conversion import probing
from keras_hyperens.conversion.probing import Probe
from keras_hyperens.hyperparameters import Hyperparameter


class OneByOne(Probe):
    """The oracle: every hyperparameter by itself."""

    def _probe_all(self, group):
        return {each.name: self._probe(each) for each in group}


def l2(strength):
    return keras.regularizers.L2(strength)


def strength(hp, name):
    return hp.Float(name, 1e-6, 1e-2, sampling="log")


def model(*layers, **compiled):
    network = keras.Sequential([keras.Input((3,)), *layers, keras.layers.Dense(2)])
    network.compile(**{"optimizer": "adam", "loss": keras.losses.CategoricalCrossentropy(), **compiled})
    return network


def dense(penalty):
    return keras.layers.Dense(2, kernel_regularizer=l2(penalty))


def many(hp):
    """50 on 25 layers."""
    parts = [(dense(strength(hp, f"l2 {n}")), keras.layers.Dropout(hp.Float(f"rate {n}", 0.1, 0.5))) for n in range(25)]
    return model(*[layer for part in parts for layer in part])


def multiples(hp):
    a, b = strength(hp, "a"), strength(hp, "b")
    return model(dense(a), dense(3 * a), dense(b / 7), keras.layers.Dropout(hp.Float("rate", 0.0, 0.5)))


def with_rate_of_learning(hp):
    optimizer = keras.optimizers.Adam(hp.Float("learning rate", 1e-4, 1e-1, sampling="log"))
    return model(dense(strength(hp, "a")), dense(strength(hp, "b")), dense(strength(hp, "c")), optimizer=optimizer)


def products(hp):
    a, b, c = (strength(hp, name) for name in "abc")
    return model(dense(a * b), dense(b), dense(c), dense(a + c))


def the_same_place(hp):
    a, b = strength(hp, "a"), strength(hp, "b")
    return model(dense(max(a, b)), dense(strength(hp, "c")))


def nothing(hp):
    hp.Float("unused", 0, 1)
    return model(dense(strength(hp, "a")), keras.layers.Dropout(hp.Float("squared", 0.1, 0.9) ** 2))


def layers_that_come_and_go(hp):
    a, b = strength(hp, "a"), strength(hp, "b")
    more = [dense(b)] if b > 1e-4 else []
    return model(dense(a), *more, keras.layers.Dropout(hp.Float("rate", 0.1, 0.5)))


def both_at_once_fail(hp):
    a, b = hp.Float("a", 0.0, 0.6, default=0.1), hp.Float("b", 0.0, 0.6, default=0.1)
    if a + b > 0.95:
        raise ValueError("too much")
    return model(keras.layers.Dropout(a), keras.layers.Dropout(b))


def of_the_loss(hp):
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=hp.Float("smoothing", 0.0, 0.3))
    return model(dense(strength(hp, "a")), keras.layers.Dense(hp.Int("units", 2, 4)), loss=loss)


def built(hypermodel, kind):
    """A probe, and how many models it built."""
    builds = []
    probe = kind(lambda hp: builds.append(1) or hypermodel(hp))
    return probe, len(builds)


@pytest.mark.parametrize(
    "hypermodel, most",
    [
        (multiples, 4),
        (of_the_loss, 4),
        (with_rate_of_learning, 8),
        (products, 24),
        (the_same_place, 17),
        (nothing, 17),
        (layers_that_come_and_go, 16),
        (both_at_once_fail, 10),
    ],
)
def test_what_is_found_is_what_is_found_one_by_one(hypermodel, most):
    (few, number), (oracle, _) = built(hypermodel, Probe), built(hypermodel, OneByOne)
    assert few.driven == oracle.driven and few.fixed == oracle.fixed
    assert few.space.names == oracle.space.names
    assert number <= most


def test_fifty_hyperparameters_need_four_models():
    probe, number = built(many, Probe)
    assert number == 1 + len(probing.FRACTIONS)
    assert len(probe.space) == len(probe.driven) == 50 and not probe.fixed
    names = [f"l2 {n}" for n in range(25)], [f"rate {n}" for n in range(25)]
    assert [name for (_, setting), name in probe.driven.items() if setting == "kernel_l2"] == names[0]
    assert [name for (_, setting), name in probe.driven.items() if setting == "rate"] == names[1]


def test_no_two_are_probed_at_the_same_places():
    one = Hyperparameter("a", 1e-6, 1e-2, "log")
    found = [probing._values(one, number) for number in range(200)]
    assert len(set(found)) == 200 and all(one.min_value < value < one.max_value for values in found for value in values)
    assert all(probing._factor(list(zip(found[0], other))) is None for other in found[1:])
