"""What an output means, by the loss and the last activation."""

import keras
import pytest

import keras_hyperens as khe
from keras_hyperens.likelihoods import Bernoulli
from keras_hyperens.likelihoods import Categorical
from keras_hyperens.likelihoods import Gaussian
from keras_hyperens.likelihoods import Value
from keras_hyperens.likelihoods import of_loss
from keras_hyperens.likelihoods import of_losses
from keras_hyperens.likelihoods import of_model

CLASSES = keras.losses.SparseCategoricalCrossentropy
LOGITS, YES = Categorical(from_logits=True), Bernoulli(from_logits=True)


@pytest.mark.parametrize(
    ("loss", "likelihood"),
    [
        (keras.losses.SparseCategoricalCrossentropy(from_logits=True), LOGITS),
        (keras.losses.CategoricalFocalCrossentropy(from_logits=True), LOGITS),
        (keras.losses.CategoricalCrossentropy(label_smoothing=0.1), Categorical()),
        (keras.losses.BinaryCrossentropy(from_logits=True), YES),
        ("sparse_categorical_crossentropy", Categorical()),
        ("binary_crossentropy", Bernoulli()),
        ("SparseCategoricalCrossentropy", Categorical()),
        (keras.losses.categorical_crossentropy, Categorical()),
        (keras.losses.CTC(), LOGITS),
        (keras.losses.ctc, LOGITS),
        (khe.losses.GaussianNegativeLogLikelihood(), Gaussian()),
        (khe.losses.LabelSmoothing(CLASSES(from_logits=True), "smoothing"), LOGITS),
        ("mse", Value()),
        (keras.losses.MeanSquaredError(), Value()),
        (lambda y_true, y_pred: 0.0, None),
        (None, None),
    ],
)
def test_a_loss_tells_what_outputs_are(loss, likelihood):
    assert of_loss(loss) == likelihood
    assert of_losses({"a": loss, "b": [loss]}) == {"a": likelihood or Value(), "b": [likelihood or Value()]}


def focal(y_true, y_pred):
    return keras.ops.sum(-y_true * (1 - y_pred) ** 2 * keras.ops.log(y_pred), -1)


class Own(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return focal(y_true, y_pred)


class OwnSquares(keras.losses.MeanSquaredError):
    pass


def network(last=(), loss=None, outputs=3):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(outputs, name="raw"), *last])
    if loss is not None:
        model.compile("sgd", loss)
    return model


def nested(loss):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Identity()(network([keras.layers.Softmax()])(inputs)))
    model.compile("sgd", loss)
    return model


def of_operations(loss):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.ops.softmax(keras.layers.Dense(3)(inputs)))
    model.compile("sgd", loss)
    return model


SOFTMAX, SIGMOID = keras.layers.Activation("softmax"), keras.layers.Activation("sigmoid")


@pytest.mark.parametrize("loss", [focal, Own(), "dice"])
def test_where_the_loss_says_nothing_the_last_activation_does(loss):
    assert of_model(network([SOFTMAX], loss)) == Categorical()
    assert of_model(network([SIGMOID], loss)) == Bernoulli()
    assert of_model(network([SOFTMAX, keras.layers.Reshape((1, 3))], loss)) == Categorical()
    assert of_model(network([keras.layers.Reshape((3, 1)), keras.layers.TimeDistributed(SIGMOID)], loss)) == (
        Bernoulli()
    )
    assert of_model(nested(loss)) == of_model(of_operations(loss)) == Categorical()
    assert of_model(network([], loss)) == Value()
    assert of_model(network([SOFTMAX])) == Value()  # not compiled: raw outputs


@pytest.mark.parametrize("loss", ["mse", "mean_absolute_error", keras.losses.Huber(), OwnSquares(), "hinge"])
def test_losses_of_values_make_values(loss):
    assert of_model(network([SIGMOID], loss)) == of_model(network([SOFTMAX], loss)) == Value()


def test_losses_that_are_known_decide():
    assert of_model(network([SOFTMAX], CLASSES(from_logits=True))) == Categorical(from_logits=True)
    assert of_model(network([], CLASSES())) == of_model(network([], "kl_divergence")) == Categorical()
    assert of_model(network([], "kld")) == of_model(network([], keras.losses.KLDivergence()))
    assert of_model(network([], ["binary_crossentropy"])) == Bernoulli()


def test_each_output_by_its_own_loss_and_activation():
    inputs = keras.Input((4,))
    outputs = {"b": keras.layers.Dense(3, "softmax", name="b")(inputs), "a": keras.layers.Dense(1, name="a")(inputs)}
    model = keras.Model(inputs, outputs)
    model.compile("sgd", {"a": "mse", "b": focal})
    assert of_model(model) == {"a": Value(), "b": Categorical()}
    model = keras.Model(inputs, [outputs["b"], outputs["a"]])
    model.compile("sgd", focal)
    assert of_model(model) == [Categorical(), Value()]


def test_members_of_different_kinds_are_refused():
    members = [network([SOFTMAX], focal), network([], CLASSES(from_logits=True)), network([], "mse")]
    assert khe.HyperDeepEnsemble(members[:2]).member_likelihoods == [Categorical(), Categorical(from_logits=True)]
    message = r"must be of the same kind.*member 0 with \['probabilities of classes'\], member 2 with \['values'\]"
    with pytest.raises(ValueError, match=message):
        khe.HyperDeepEnsemble(members)
    with pytest.raises(ValueError, match="member 1 with"):
        khe.HyperDeepEnsemble([network([SOFTMAX], focal), network([SIGMOID], "binary_crossentropy")])
    with pytest.raises(ValueError, match="set `output_activation`"):
        khe.HyperDeepEnsemble([network(), network([], CLASSES(from_logits=True))])  # one is not compiled
    assert khe.HyperDeepEnsemble(members, output_activation=None).member_likelihoods == [Value()] * 3
    assert khe.HyperDeepEnsemble(members[:1], output_activation="categorical").likelihoods == Categorical()
