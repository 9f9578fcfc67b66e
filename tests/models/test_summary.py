"""What ensembles say of themselves."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_hyperens as khe
from tests.models.networks import LOGITS
from tests.models.networks import Subclassed
from tests.models.networks import blobs
from tests.models.networks import compiled
from tests.models.networks import deep
from tests.models.networks import dense_network
from tests.models.networks import members

X, Y = blobs(40)


def summary(ensemble, **arguments):
    texts = []
    ensemble.summary(print_fn=texts.append, **arguments)
    return "\n".join(texts)


def test_parameters_are_those_of_the_weights():
    ensemble = compiled(dense_network(size=3), run_eagerly=True)
    first, _, plain, last = ensemble.network.layers
    each = sum(
        int(np.prod(weight.shape)) // 3 for layer in (first, last) for weight in layer.weights if weight.shape[0] == 3
    )
    found = ensemble._parameters()
    assert found.own == (each,) * 3 and found.shared + 3 * each == ensemble.network.count_params()
    assert found.shared > plain.count_params()
    text = summary(ensemble)
    assert "Total params" in text and "Members: 3" in text
    assert f"Parameters: {found.shared:,} shared, {each:,} per member" in text


def test_normalization_of_members_is_their_own():
    own = members(2)
    layers = [khe.layers.MemberBatchNormalization(**own), khe.HyperBatchDense(3, sharing="independent", **own)]
    ensemble = khe.HyperBatchEnsemble(keras.Sequential([keras.Input((4,)), *layers]), seed=0)
    assert ensemble._parameters() == (0, (4 * 4 + 4 * 3 + 3,) * 2)


def test_hyperparameters_of_a_hyper_batch_ensemble():
    ensemble = compiled(dense_network(size=3), run_eagerly=True)
    ensemble.leave_out([1])
    text, page = summary(ensemble), ensemble._repr_html_()
    values, bounds = ensemble.hyperparameter_values(), ensemble.hyperparameter_bounds()
    for k in range(3):
        cells = [f"{values[n][k]:.3g} [{bounds[n][k, 0]:.3g}, {bounds[n][k, 1]:.3g}]" for n in ("l2", "rate")]
        assert re.search(rf"^{k} +{re.escape(cells[0])} +{re.escape(cells[1])}$", text, re.M)
        assert f"<tr><td>{k}</td><td>{cells[0]}</td><td>{cells[1]}</td></tr>" in page
    assert "Members: 3, excluded: [1]" in text and "Outputs: probabilities of classes; members combined by mean" in text
    assert "<th>member</th><th>l2</th><th>rate</th>" in page and "Temperatures" not in text
    ensemble.calibrate(X, Y, verbose=0)
    ensemble.set_reference(X, verbose=0)
    assert "Reference: 40 samples: predictive_entropy, mutual_information, disagreement" in summary(ensemble)
    ensemble.conformalize(X, Y, 0.8, "aps", verbose=0)
    ensemble.abstain(threshold=0.5)
    page = ensemble._repr_html_()
    assert "Temperatures: per ensemble" in page and "Conformal: aps, coverage 0.8" in page
    assert "Abstention by: max_probability" in page


def test_a_hyper_deep_ensemble():
    text, page = summary(deep(), expand_nested=True), deep()._repr_html_()
    assert "Parameters: 0 shared, 19 to 35 per member" in text and "members combined by mean" in text
    assert re.search(r"^member  weight  units  l2$", text, re.M) and re.search(r"^0 +0.75 +2 +0.001$", text, re.M)
    assert "<td>1</td><td>0.25</td><td>4</td><td></td>" in page


def test_many_members_and_names_that_are_markup():
    own = {"ensemble_size": 20, "space": khe.HyperparameterSpace([khe.Hyperparameter("<l2>", 1e-6, 1e-2, "log")])}
    network = keras.Sequential([keras.Input((4,)), khe.HyperBatchDense(3, kernel_l2="<l2>", **own)])
    page = khe.HyperBatchEnsemble(network, seed=0)._repr_html_()
    assert page.count("<tr>") == 9 and "and 12 more" in page and "&lt;l2&gt;" in page and "<l2>" not in page


def test_one_that_was_never_called():
    ensemble = khe.HyperBatchEnsemble(Subclassed(), **members(), seed=0)
    assert "Parameters: unknown before the first call" in ensemble._repr_html_()
    ensemble.compile("sgd", LOGITS, run_eagerly=True)
    ensemble._trainer.build(tf.TensorSpec([None, 4]))
    assert "shared" in ensemble._repr_html_()


@pytest.mark.parametrize("make", [lambda: compiled(dense_network(), run_eagerly=True), deep])
def test_repr_is_as_before(make):
    assert repr(make()).startswith("<Hyper")
