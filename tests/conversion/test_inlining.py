"""Custom layers are looked into where the graph of them is exactly what they are, and else stay as they are."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

import keras_hyperens as khe
from keras_hyperens.conversion.inlining import Inlining
from keras_hyperens.conversion.summary import share_of_members
from tests.zoo import blocks

M = 2
L2 = {"l2": khe.Hyperparameter("l2", 1e-6, 1e-2, "log")}
X = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")


class Block(layers.Layer):
    """A dense layer, and what a subclass does with it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(4)
        self.dropout = layers.Dropout(0.5)
        self._calls = 0

    def call(self, x):
        return x + self.dense(x)


class OtherInTraining(Block):
    def call(self, x, training=None):
        return 2 * self.dense(x) if training else self.dense(x)


class FrozenInside(Block):
    def call(self, x, training=None):
        return self.dropout(self.dense(x), training=False)


class OwnLoss(Block):
    def call(self, x):
        self.add_loss(ops.sum(x))
        return self.dense(x)


class LossOfWeights(Block):
    def build(self, shape):
        self.dense.build(shape)
        self.built = True

    def call(self, x):
        self.add_loss(ops.sum(ops.square(self.dense.kernel)))
        return self.dense(x)


class Measures(Block):
    def build(self, shape):
        self.mean = keras.metrics.Mean()
        self.dense.build(shape)
        self.built = True

    def call(self, x):
        self.mean.update_state(ops.sum(self.dense.kernel))
        return self.dense(x)


class Counts(Block):
    def call(self, x):
        self._calls += 1
        return self.dense(x)


class TiedKernel(Block):
    def call(self, x):
        return ops.matmul(self.dense(x), self.dense.kernel)


class TransposedKernel(Block):
    def call(self, x):
        return ops.matmul(self.dense(x), ops.transpose(self.dense.kernel))


class Unused(Block):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.unused = layers.Dense(2, name="unused")

    def build(self, shape):
        self.dense.build(shape)
        self.unused.build(shape)
        self.built = True


class Scaled(Block):
    def build(self, shape):
        self.scale = self.add_weight(shape=(4,), initializer="ones", name="scale")
        self.dense.build(shape)
        self.built = True

    def call(self, x):
        return self.scale * self.dense(x)


class ScaledInParts(Block):
    """Weights in a list, in a dictionary and a tuple, and slices that only arrays have."""

    def build(self, shape):
        self.scales = [self.add_weight(shape=(4,), initializer="ones", name=f"scale_{n}") for n in range(2)]
        self.others = {"shift": (self.add_weight(shape=(5, 4), initializer="ones", name="shift"),)}
        self.dense.build(shape)
        self.built = True

    def call(self, x):
        for scale in self.scales:
            x = np.ones((1, 4), "float32") * self.dense(x) * scale[None]
        return x + self.others["shift"][0][1:][0]


class CachedAttention(layers.MultiHeadAttention):
    """A `call` with other arguments than those of the inherited output shapes."""

    def call(self, query, value, cache=None, training=None):
        heads = (self._query_dense(query), self._value_dense(value), self._key_dense(value))
        return self._output_dense(heads[0] + heads[1] + heads[2])


class AroundCachedAttention(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.attention = CachedAttention(2, 2)

    def build(self, shape):
        self.attention.build(shape, shape)
        self.built = True

    def call(self, x):
        return self.attention(x, x, cache=None)


class OfLength(Block):
    def call(self, x):
        return self.dense(x) + ops.cast(ops.arange(ops.shape(x)[1]), "float32")[None, :, None]


class TimesSum(Block):
    def call(self, x, table):
        return self.dense(x) * ops.sum(ops.convert_to_tensor(table))


def model_with(block, units=3):
    inputs = keras.Input((4,))
    return keras.Model(inputs, layers.Dense(units, name="scores")(block(inputs)))


def equal_members(model, ensemble, x=X):
    expected = ops.convert_to_numpy(model(x))
    np.testing.assert_allclose(ensemble._member_outputs(x), np.stack([expected] * M), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (OtherInTraining, "differs in training"),
        (FrozenInside, "`training=False`"),
        (OwnLoss, "fails on symbolic inputs"),
        (LossOfWeights, "adds a loss"),
        (Counts, "changes the layer itself"),
        (Measures, "changes the layer itself"),
        (TiedKernel, "weights of its layers directly"),
        (TransposedKernel, "different outputs on synthetic inputs"),
        (Unused, "outside of the graph: .*unused"),
    ],
)
def test_what_no_graph_can_be_stays_as_it_is(kind, reason):
    block = kind(name="mine")
    model = model_with(block)
    before = model.get_weights()
    with pytest.warns(UserWarning, match=f"mine \\(.*{reason}"):
        ensemble = khe.HyperBatchEnsemble.from_model(model, roles=L2, ensemble_size=M)
    assert ensemble.network.get_layer("mine") is block
    for left, right in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)
    equal_members(model, ensemble)


def test_a_weight_between_layers_is_shared_and_trained():
    model = model_with(Scaled(name="mine"))
    ensemble = khe.HyperBatchEnsemble.from_model(model, roles=L2, ensemble_size=M, seed=0)
    equal_members(model, ensemble)
    block = ensemble.network.get_layer("mine")
    assert [type(layer).__name__ for layer in block.layers] == ["InputLayer", "Weight", "HyperBatchDense"]
    ensemble.compile("sgd", "mse", run_eagerly=True)
    ensemble.fit(X, np.ones((5, 3)), tuning_data=(X, np.ones((5, 3))), verbose=0)
    assert np.ptp(block.layers[1].weight) > 0 and np.ptp(model.get_layer("mine").scale) == 0


def test_weights_in_lists_and_dictionaries():
    model = model_with(ScaledInParts(name="mine"))
    ensemble = khe.HyperBatchEnsemble.from_model(model, sharing="batch", ensemble_size=M)
    equal_members(model, ensemble)
    assert sum(type(layer).__name__ == "Weight" for layer in ensemble.network.get_layer("mine").layers) == 3
    assert model.get_layer("mine").count_params() == ensemble.member(0).get_layer("mine").count_params()


def test_calls_of_other_shapes_share_weights():
    block, pool = Scaled(name="mine"), layers.GlobalMaxPooling1D()
    inputs = keras.Input((5, 4)), keras.Input((7, 4))
    model = keras.Model(inputs, layers.Dense(3)(layers.add([pool(block(each)) for each in inputs])))
    ensemble = khe.HyperBatchEnsemble.from_model(model, sharing="batch", ensemble_size=M)
    equal_members(model, ensemble, tuple(np.ones((2, length, 4), "float32") for length in (5, 7)))
    assert model.count_params() == ensemble.member(0).count_params()


def test_calls_with_other_arrays_are_other_graphs():
    block, inputs = TimesSum(), keras.Input((4,))
    one, other = np.ones(3000, "float32"), np.ones(3000, "float32")
    other[1500] = 9  # where its text has dots
    ensemble_of = keras.Model(inputs, layers.Dense(3)(block(inputs, one) - block(inputs, other)))
    equal_members(ensemble_of, khe.HyperBatchEnsemble.from_model(ensemble_of, sharing="batch", ensemble_size=M))


def test_layers_with_other_arguments_than_those_of_their_output_shapes():
    block = AroundCachedAttention()
    block(np.ones((2, 5, 4), "float32"))
    graph = Inlining().graph_of(keras.Sequential([keras.Input((5, 4)), block]))
    kinds = {type(layer) for model in graph._flatten_layers() for layer in getattr(model, "layers", ())}
    assert layers.EinsumDense in kinds and CachedAttention not in kinds
    assert "compute_output_spec" not in vars(block.attention)


def test_a_block_that_needs_the_length_says_so():
    block = OfLength(name="mine")
    inlining = Inlining()
    inlining.graph_of(keras.Sequential([keras.Input((5, 4)), block]))
    assert not inlining.reasons
    inlining.graph_of(keras.Sequential([keras.Input((None, 4)), block]))
    assert "inputs of unknown length" in inlining.reasons[id(block)]


def test_names_and_classes_that_are_excluded_are_not_looked_into():
    for excluded in ("mi*", Block):
        block = Block(name="mine")
        ensemble = khe.HyperBatchEnsemble.from_model(model_with(block), roles=L2, ensemble_size=M, exclude=[excluded])
        assert ensemble.network.get_layer("mine") is block


def test_a_frozen_block_is_shared():
    block = Block(name="mine", trainable=False)
    ensemble = khe.HyperBatchEnsemble.from_model(model_with(block), roles=L2, ensemble_size=M)
    assert ensemble.network.get_layer("mine") is block


class OfQueries(Block):
    """A dense layer of weights, whose number is no number of rows, though it can be divided by M."""

    def build(self, shape):
        self.queries = self.add_weight(shape=(4, 4), name="queries")
        self.dense.build((4, 4))
        self.built = True

    def call(self, x):
        return ops.matmul(x, self.dense(self.queries))


class OfConstants(Block):
    def call(self, x):
        return x + ops.sum(self.dense(ops.eye(4)), axis=0)


@pytest.mark.parametrize("kind", [OfQueries, OfConstants])
def test_a_layer_that_sees_no_rows_is_shared(kind):
    model = model_with(kind(name="mine"))
    with pytest.warns(UserWarning, match=r"mine/dense.* \(it does not process the batch"):
        ensemble = khe.HyperBatchEnsemble.from_model(model, roles=L2, ensemble_size=M)
    equal_members(model, ensemble)


def test_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        inputs = keras.Input((4, 8))
        model = keras.Model(inputs, layers.Dense(3)(blocks.TransformerBlock(8, 2, 0.1)(inputs)))
        graph = Inlining().graph_of(model)
    finally:
        keras.config.set_dtype_policy("float32")
    x = np.random.default_rng(0).normal(size=(3, 4, 8)).astype("float32")
    assert graph.layers[1].output.dtype == "bfloat16"
    np.testing.assert_allclose(graph(x), model(x), rtol=3e-2, atol=3e-2)


def test_masks_arrive_where_they_did():
    inputs = keras.Input((6,), dtype="int32")
    hidden = blocks.MaskedEncoder(8)(blocks.MaskedEmbedding(6, 11, 8)(inputs))
    model = keras.Model(inputs, layers.Dense(3)(layers.LSTM(4)(hidden)))
    ensemble = khe.HyperBatchEnsemble.from_model(model, roles=L2, ensemble_size=M)
    assert share_of_members(ensemble._report.records) == 1
    rows = np.array([[1, 2, 3, 0, 0, 0], [4, 5, 6, 7, 8, 9], [3, 0, 0, 0, 0, 0]])
    equal_members(model, ensemble, rows)
    cut = ops.convert_to_numpy(model(rows))
    other = ops.convert_to_numpy(model(np.where(rows == 0, 10, rows)))
    assert np.abs(cut - other)[[0, 2]].min() > 1e-6  # the mask does something


def test_hyperparameters_drive_what_is_inside_blocks():
    def build_model(hp):
        penalty = keras.regularizers.L2(hp.Float("l2", 1e-6, 1e-2, sampling="log"))
        block = blocks.GatedResidual(6, hp.Float("dropout", 0.1, 0.5), penalty)
        inputs = keras.Input((4,))
        model = keras.Model(inputs, layers.Dense(hp.Int("units", 2, 4))(block(inputs)))
        model.compile("sgd", "mse")
        return model

    ensemble = khe.HyperBatchEnsemble.from_hypermodel(build_model, ensemble_size=M)
    driven = {record.driven_by for record in ensemble._report.records} - {""}
    assert ensemble.space.names == ("l2", "dropout") and driven == {"kernel_l2 = l2", "rate = dropout"}
    assert list(ensemble._report.fixed) == ["units"]


class Network(keras.Model):
    def __init__(self):
        super().__init__()
        self.blocks = [Block() for _ in range(2)]
        self.scores = layers.Dense(3)

    def call(self, inputs, training=None):
        for block in self.blocks:
            inputs = block(inputs)
        return self.scores(inputs)

    def train_step(self, data):
        return {}


def test_a_subclassed_model():
    model = Network()
    model(X)
    with pytest.warns(UserWarning, match="does not use its own `train_step`"):
        ensemble = khe.HyperBatchEnsemble.from_model(model, roles=L2, ensemble_size=M)
    equal_members(model, ensemble)
    assert share_of_members(ensemble._report.records) == 1
    plain = {type(layer).__name__ for layer in ensemble.member(0)._flatten_layers()}
    assert plain == {"Functional", "InputLayer", "Dense"}


class Branches(Network):
    train_step = keras.Model.train_step

    def call(self, inputs, training=None):
        for block in self.blocks:
            inputs = block(inputs)
        return self.scores(inputs if training else -inputs)


class OfStrings(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.lookup, self.table = layers.StringLookup(vocabulary=["a", "b"]), layers.Embedding(3, 4)
        self.scores = layers.Dense(3)

    def call(self, words, numbers):
        return self.scores(self.table(self.lookup(words)) + numbers)


def test_a_subclassed_model_of_strings_and_two_arguments():
    model, words = OfStrings(name="words"), keras.ops.convert_to_tensor(["a", "b", "c"])
    model(words, X[:3])
    with pytest.raises(ValueError, match=r"declare its inputs.*keras.Model\(inputs, model\(inputs\)\).*'words'"):
        khe.HyperBatchEnsemble.from_model(model, roles=L2)
    inputs = [keras.Input((), dtype="string"), keras.Input((4,))]
    declared = keras.Model(inputs, model(*inputs))
    ensemble = khe.HyperBatchEnsemble.from_model(declared, roles=L2, ensemble_size=M)
    equal_members(declared, ensemble, [words, ops.convert_to_tensor(X[:3])])
    assert share_of_members(ensemble._report.records) == 1


def test_a_subclassed_model_that_cannot_be_followed_says_why():
    model = Branches()
    model(X)
    with pytest.raises(ValueError, match="tracing its `call`.*'branches' of type Branches, but: its.*in training"):
        khe.HyperBatchEnsemble.from_model(model, roles=L2, ensemble_size=M)
