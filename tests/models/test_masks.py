"""Keras' masks, and classes that a loss ignores: what does not count in plain Keras does not count here."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_hyperens as khe
from keras_hyperens.calibration import fit_temperature
from keras_hyperens.calibration.member_weights import PRIOR_ROWS
from keras_hyperens.conversion.probing import facts_of
from keras_hyperens.hyperparameters.scope import member_scope
from keras_hyperens.search.grouped.candidate_group import CandidateGroup
from keras_hyperens.search.grouped.joint import sites_of
from tests.models.networks import LOGITS

CLASSES, LENGTH = 3, 5
GENERATOR = np.random.default_rng(0)
X = np.where(np.arange(LENGTH) < GENERATOR.integers(1, LENGTH + 1, (12, 1)), GENERATOR.integers(1, 9, (12, LENGTH)), 0)
Y = GENERATOR.integers(0, CLASSES, X.shape)
WEIGHTS = GENERATOR.uniform(0.5, 2, X.shape).astype("float32")
IGNORING = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=0)


SETTINGS = pytest.mark.parametrize("loss", [LOGITS, IGNORING], ids=["all", "ignoring"])


def tagger(size, recurrent=False, hyperparameters=None):
    members = {"ensemble_size": size, "space": hyperparameters}
    layers = [keras.Input((LENGTH,), dtype="int32"), keras.layers.Embedding(9, 4, mask_zero=True)]
    if recurrent:
        layers += [khe.layers.HyperBatchLSTM(4, return_sequences=True, **members)]
    penalty = {} if hyperparameters is None else {"kernel_l2": "l2"}
    network = keras.Sequential([*layers, khe.HyperBatchDense(CLASSES, **penalty, **members)])
    return khe.HyperBatchEnsemble(network, space=hyperparameters, ensemble_size=size, seed=0)


def plain(model, loss=LOGITS):
    metrics = [keras.metrics.SparseCategoricalAccuracy(), khe.metrics.NegativeLogLikelihood(from_logits=True)]
    model.compile("sgd", loss, weighted_metrics=metrics, run_eagerly=True)
    return model


def compiled(ensemble, loss=LOGITS, **arguments):
    metrics = [keras.metrics.SparseCategoricalAccuracy(), khe.metrics.NegativeLogLikelihood()]
    still = keras.optimizers.SGD(0.0)
    ensemble.compile(still, loss, weighted_metrics=metrics, run_eagerly=True, **arguments)
    return ensemble


def evaluated(model, **arguments):
    return model.evaluate(X, Y, batch_size=len(X), verbose=0, return_dict=True, **arguments)


def nll(probabilities, counts=X > 0):
    """The mean over positions that count."""
    return -np.log(np.take_along_axis(probabilities, Y[..., None], -1)[..., 0][counts]).mean()


@SETTINGS
@pytest.mark.parametrize("sample_weight", [None, WEIGHTS], ids=["equal", "weighted"])
@pytest.mark.parametrize("recurrent", [False, pytest.param(True, marks=pytest.mark.integration)], ids=["dense", "lstm"])
def test_one_member_is_plain_keras(recurrent, sample_weight, loss):
    ensemble = compiled(tagger(1, recurrent), loss)
    expected = evaluated(plain(ensemble.member(0), loss), sample_weight=sample_weight)
    got = evaluated(ensemble, sample_weight=sample_weight)
    if loss is IGNORING:
        expected["nll"] = got["nll"]  # the ensemble says which class does not count
    assert got == pytest.approx(expected, rel=1e-4)
    rows = (X, Y) if sample_weight is None else (X, Y, sample_weight)
    arguments = {"batch_size": len(X), "sample_weight": sample_weight, "verbose": 0}
    logs = ensemble.fit(X, Y, tuning_data=rows, **arguments).history
    assert [logs["loss"][0], logs["tuning_loss"][0]] == pytest.approx([expected["loss"]] * 2, rel=1e-4)


@SETTINGS
def test_members_count_where_one_does(loss):
    ensemble = compiled(tagger(3), loss, member_metrics=[khe.metrics.GibbsLoss()])
    logs = evaluated(ensemble)
    counts = (X > 0) & (Y > 0) if loss is IGNORING else X > 0
    members = ensemble.predict_members(X, verbose=0)
    combined = nll(ensemble.predict(X, verbose=0), counts)
    assert [logs["loss"], logs["nll"]] == pytest.approx([combined] * 2, rel=1e-4)
    assert logs["gibbs_loss"] == pytest.approx(np.mean([nll(member, counts) for member in members]), rel=1e-4)
    assert abs(nll(members.mean(0), X > -1) - combined) > 1e-3  # padding would make a difference


@pytest.mark.filterwarnings("ignore:No tuning data")
def test_logs_of_members_that_train_on_batches_of_their_own():
    ensemble = compiled(tagger(2))
    logs = ensemble.fit(X, Y, len(X), verbose=0).history
    members = ensemble.predict_members(X, verbose=0)
    assert logs["nll"][0] == pytest.approx(np.mean([nll(member) for member in members]), rel=1e-4)


@pytest.mark.integration
def test_response_curves():
    ensemble = compiled(
        tagger(2, hyperparameters=khe.HyperparameterSpace([khe.Hyperparameter("l2", 1e-6, 1e-2, "log")]))
    )
    curve = ensemble.response_curves(X, Y, 2, len(X), verbose=0)["l2"]  # no kernel responds yet
    np.testing.assert_allclose(curve.losses, nll(ensemble.predict(X, verbose=0)), rtol=1e-4)


@SETTINGS
def test_a_hyper_deep_ensemble(loss):
    members = [plain(tagger(1).member(0), loss) for _ in range(2)]
    one, two = (compiled_deep(members[:number], loss) for number in (1, 2))
    got, expected = evaluated(one), evaluated(members[0])
    assert got["loss"] == pytest.approx(expected["loss"], rel=1e-4)
    counts = (X > 0) & (Y > 0) if loss is IGNORING else X > 0
    logs = evaluated(two)
    assert [logs["loss"], logs["nll"]] == pytest.approx([nll(two.predict(X, verbose=0), counts)] * 2, rel=1e-4)


def compiled_deep(members, loss):
    ensemble = khe.HyperDeepEnsemble(members)
    ensemble.compile(loss=loss, weighted_metrics=[khe.metrics.NegativeLogLikelihood()], run_eagerly=True)
    return ensemble


def test_candidates_that_are_trained_together():
    models = [keras.models.clone_model(tagger(1).member(0)) for _ in range(2)]
    for model in models:
        model.compile("sgd", LOGITS)
    facts = [facts_of(model) for model in models]
    group = CandidateGroup(models[0], sites_of(facts), 2, (X[:2], Y[:2], None))
    group.start(models, facts, seed=0, steps=1)
    losses, _ = group._member_losses((X, Y), training=False)
    alone = [plain(model).evaluate(X, Y, len(X), verbose=0, return_dict=True)["loss"] for model in models]
    np.testing.assert_allclose(losses, alone, rtol=1e-4)


def test_losses_that_vary_with_hyperparameters():
    smoothed = khe.losses.LabelSmoothing(IGNORING, "smoothing")
    weighted = khe.losses.WeightedLoss(smoothed, "weight", 1.0)
    logits = GENERATOR.normal(size=(*Y.shape, CLASSES)).astype("float32")
    expected = float(IGNORING(Y, logits))
    assert float(weighted(Y, logits)) == pytest.approx(expected, rel=1e-5)
    with member_scope({"smoothing": np.zeros(1, "float32"), "weight": np.full(1, 3.0, "float32")}):
        assert float(smoothed(Y, logits)) == pytest.approx(expected, rel=1e-5)
        assert float(weighted(Y, logits)) == pytest.approx(3 * expected, rel=1e-5)


@SETTINGS
@pytest.mark.parametrize("per", ["ensemble", "member"])
def test_calibration_looks_at_what_counts(loss, per):
    counts = (X > 0) & (Y > 0) if loss is IGNORING else X > 0
    for ensemble in (
        compiled(tagger(2), loss),
        compiled_deep([plain(tagger(1).member(0), loss) for _ in range(2)], loss),
    ):
        labels = np.where(X > 0, Y, -1)  # what stands at padding does not matter
        members = ensemble.predict_members(X, verbose=0)
        of_each = members if per == "member" else [members.mean(0)]
        counted = Y[counts], WEIGHTS[counts]
        expected = [fit_temperature(each[counts], *counted) for each in of_each]
        settings = {"per": per, "prior_rows": 0, "verbose": 0}
        found = ensemble.calibrate(X, labels, sample_weight=WEIGHTS, **settings)
        np.testing.assert_allclose(np.ravel(found.values), expected, rtol=1e-4)
        rows = tf.data.Dataset.from_tensor_slices((X, labels, WEIGHTS)).batch(5)
        np.testing.assert_allclose(np.ravel(ensemble.calibrate(rows, **settings).values), expected, rtol=1e-4)
        held = [fit_temperature(each[counts], *counted, PRIOR_ROWS * X.shape[1]) for each in of_each]  # of rows
        found = ensemble.calibrate(X, labels, per, sample_weight=WEIGHTS, verbose=0)
        np.testing.assert_allclose(np.ravel(found.values), held, rtol=1e-4)


CONVERTED = {
    "dense": lambda: [keras.layers.Dense(4, "relu"), keras.layers.Dropout(0.2), keras.layers.Activation("tanh")],
    "recurrent": lambda: [keras.layers.Bidirectional(keras.layers.GRU(4, return_sequences=True))],
    "normalized": lambda: [keras.layers.TimeDistributed(keras.layers.Dense(4)), keras.layers.LayerNormalization()],
}


@pytest.mark.parametrize("layers", CONVERTED.values(), ids=CONVERTED)
def test_a_converted_model_has_the_loss_of_the_model(layers):
    first = [keras.Input((LENGTH,), dtype="int32"), keras.layers.Embedding(9, 4, mask_zero=True)]
    model = keras.Sequential([*first, *layers(), keras.layers.Dense(CLASSES)])
    model.compile("sgd", LOGITS, weighted_metrics=["accuracy"], run_eagerly=True)
    expected = evaluated(model, sample_weight=WEIGHTS)
    ensemble = khe.HyperBatchEnsemble.from_model(model, ensemble_size=2)  # every member begins as the model
    assert evaluated(ensemble, sample_weight=WEIGHTS) == pytest.approx(expected, rel=2e-3)
