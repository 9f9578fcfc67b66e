"""The page says what NumPy says, holds its pictures, and refuses what it cannot describe."""

import base64
import re

import keras
import numpy as np
import pytest
from matplotlib import pyplot

import keras_hyperens as khe
from keras_hyperens.reporting.page import picture
from tests.models.networks import LOGITS
from tests.models.networks import compiled
from tests.models.networks import conv_network
from tests.models.networks import deep
from tests.models.networks import dense_network

GENERATOR = np.random.default_rng(0)
LABELS = np.arange(40) % 3
IMAGES = (np.eye(3)[LABELS].repeat(12, -1).reshape(40, 6, 6, 1) + GENERATOR.normal(0, 0.4, (40, 6, 6, 1))).astype(
    "float32"
)


@pytest.fixture(scope="module")
def hyper_batch():
    keras.utils.set_random_seed(0)
    ensemble = compiled(conv_network(), run_eagerly=True)
    ensemble.fit(IMAGES, LABELS, tuning_split=0.25, epochs=3, verbose=0)
    return ensemble


def cells(page, row):
    """The cells of the first row that begins with a text."""
    return re.findall("<td>(.*?)</td>", re.search(f"<td>{row}</td>.*?</tr>", page).group())


@pytest.fixture(scope="module")
def written(hyper_batch, tmp_path_factory):
    """The file of a report on it."""
    strange = {"noise": GENERATOR.uniform(size=(15, 6, 6, 1)).astype("float32")}
    path = tmp_path_factory.mktemp("report") / "new" / "report.html"
    return khe.report(hyper_batch, IMAGES, LABELS, strange, path, title="Bars & <stripes>")


def test_numbers_of_a_hyper_batch_ensemble(hyper_batch, written):
    page = written.read_text()
    probabilities = hyper_batch.predict(IMAGES, verbose=0)
    true = probabilities[np.arange(40), LABELS]
    accuracy, nll = cells(page, "ensemble")[1:3]
    assert accuracy == f"{(probabilities.argmax(1) == LABELS).mean():.4f}"
    np.testing.assert_allclose(float(nll), -np.log(true).mean(), atol=1e-4)
    members = hyper_batch.predict_members(IMAGES, verbose=0)
    nlls = -np.log(members[:, np.arange(40), LABELS]).mean(1)
    np.testing.assert_allclose(float(cells(page, "best single member")[2]), nlls.min(), atol=1e-4)
    for k, value in enumerate(hyper_batch.hyperparameter_values()["l2"]):
        np.testing.assert_allclose(float(cells(page, f"member {k}")[5]), value, rtol=5e-3)
        np.testing.assert_allclose(float(cells(page, f"member {k}")[3]), nlls[k], atol=1e-4)
    assert "Bars &amp; &lt;stripes&gt;" in page and "<stripes>" not in page
    assert cells(page, "noise")[1] == "15" and 0 <= float(cells(page, "noise")[2]) <= 1


def test_everything_is_inside(written):
    page = written.read_text()
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(pictures) == 8 and all(base64.b64decode(each).startswith(b"\x89PNG") for each in pictures)
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert [each.name for each in written.parent.iterdir()] == ["report.html"]  # nothing half-written


def test_a_hyper_deep_ensemble_with_one_hot_labels(tmp_path):
    rows = GENERATOR.normal(size=(40, 4)).astype("float32")
    ensemble = deep()
    page = khe.report(ensemble, rows, np.eye(3)[LABELS], path=tmp_path / "r.html").read_text()
    assert cells(page, "member 0")[1] == "0.750" and cells(page, "member 0")[5:] == ["2", "0.001"]
    assert cells(page, "member 1")[5:] == ["4", ""]
    assert len(re.findall("<img", page)) == 4  # no images to show, nothing tuned
    assert "Decisions" not in page
    ensemble.save(tmp_path / "e.keras")
    loaded = keras.models.load_model(tmp_path / "e.keras")
    assert loaded.hyperparameter_values() == {"units": [2, 4], "l2": [1e-3, None]}


def test_decisions_have_a_section_where_there_are_some(tmp_path):
    rows = GENERATOR.normal(size=(40, 4)).astype("float32")
    ensemble = deep()
    ensemble.run_eagerly = True
    ensemble.conformalize(rows, LABELS, 0.8, "aps", verbose=0)
    ensemble.abstain(rows, answered=0.75, verbose=0)
    page = khe.report(ensemble, rows, LABELS, path=tmp_path / "r.html").read_text()
    answers = ensemble.decide(rows, verbose=0)
    inside, right = answers["set"][np.arange(40), LABELS], answers["label"] == LABELS
    assert f"the coverage on the test data is {inside.mean():.1%}" in page
    assert cells(page, "all")[1:] == ["40", "100.0%", f"{inside.mean():.1%}"]
    assert cells(page, "answered")[1:] == ["30", "75.0%", f"{right[~answers['refused']].mean():.2%}"]
    assert "<code>abstain</code>" in page and "`" not in page
    assert cells(page, "refused")[1:] == ["10", "25.0%", f"{right[answers['refused']].mean():.2%}"]


def test_monitoring_has_a_section_where_there_is_a_reference(tmp_path):
    rows = GENERATOR.normal(size=(40, 4)).astype("float32")
    ensemble = deep()
    ensemble.run_eagerly = True
    reference = ensemble.set_reference(rows, verbose=0)
    strange = {"far": 30 * rows, "few": rows[:9]}
    page = khe.report(ensemble, rows, LABELS, strange, tmp_path / "r.html").read_text()
    assert "Monitoring" in page and cells(page, "test data")[1:4] == ["40", "no", "1"]
    drift = ensemble.detect_drift(strange["far"], verbose=0)
    found = re.findall(r"<td>far</td><td>40</td><td>(yes|no)</td><td>([^<]*)</td>", page)
    assert found == [("yes" if drift.alarm else "no", f"{drift.p_value:.2g}")]
    distances = re.findall(r"<td>far</td><td>predictive entropy</td><td>[^<]*</td><td>([^<]*)</td>", page)
    assert distances == [f"{drift.measures[0].distance:.3f}"]
    assert len(reference.values[0]) == 40


@pytest.mark.parametrize(("width", "scrolls"), [(5, False), (9.3, True)])
def test_wide_pictures_scroll_on_phones(width, scrolls):
    assert ('class="scroll wide"' in picture(pyplot.figure(figsize=(width, 3)), "a caption")) == scrolls
    assert not pyplot.get_fignums()


def test_one_probability_is_that_of_the_second_class(tmp_path):
    ensemble = deep(1, "sigmoid", "binary_crossentropy")
    rows = GENERATOR.normal(size=(40, 4)).astype("float32")
    page = khe.report(ensemble, rows, LABELS[:, None] % 2, path=tmp_path / "r.html").read_text()
    right = ((ensemble.predict(rows, verbose=0)[:, 0] > 0.5) == LABELS % 2).mean()
    assert cells(page, "ensemble")[1] == f"{right:.4f}"


def test_what_cannot_be_described_is_named(hyper_batch, tmp_path):
    path = tmp_path / "r.html"
    with pytest.raises(TypeError, match="Received: Sequential"):
        khe.report(keras.Sequential(), IMAGES, LABELS, path=path)
    with pytest.raises(ValueError, match="outputs that are values"):
        khe.report(compiled(dense_network(1), loss="mse"), IMAGES, LABELS, path=path)
    with pytest.raises(ValueError, match=r"labels \(39,\)"):
        khe.report(hyper_batch, IMAGES, LABELS[1:], path=path)
    with pytest.raises(ValueError, match="from 0 to 3"):
        khe.report(hyper_batch, IMAGES, LABELS + (np.arange(40) == 2), path=path)
    with pytest.raises(ValueError, match="one dictionary for each of 2 members. Received: 1"):
        khe.HyperDeepEnsemble(deep().members, member_hyperparameters=[{}])
    assert not path.exists()


@pytest.mark.integration
def test_dollars_in_names_lists_as_labels_and_sets_without_rows(hyper_batch, tmp_path):
    path, strange = tmp_path / "r.html", {r"$\notamacro$ & $5": IMAGES[:3]}
    page = khe.report(hyper_batch, IMAGES, LABELS.tolist(), strange, path).read_text()
    assert cells(page, re.escape(r"$\notamacro$ &amp; $5"))[1] == "3"
    assert "Out-of-distribution detection" not in khe.report(hyper_batch, IMAGES, LABELS, {}, path).read_text()
    for ood, name in ((IMAGES[:0], "out of distribution"), ({"a": IMAGES, "b": IMAGES[:0]}, "b")):
        with pytest.raises(ValueError, match=f"`ood` must have samples.*Received: no samples in '{name}'"):
            khe.report(hyper_batch, IMAGES, LABELS, ood, path)
    with pytest.raises(ValueError, match="Labels must be numbers.*Received: dtype=<U"):
        khe.report(hyper_batch, IMAGES, LABELS.astype(str), path=path)
    with pytest.raises(ValueError, match="Received: soft or multiple labels"):
        khe.report(hyper_batch, IMAGES, np.full((40, 3), 1 / 3), path=path)


def test_a_hyperparameter_with_dollars(tmp_path):
    space = khe.HyperparameterSpace([khe.Hyperparameter(r"$\l2$", 1e-6, 1e-2, "log")])
    members = {"ensemble_size": 2, "space": space}
    network = keras.Sequential([keras.Input((4,)), khe.HyperBatchDense(3, kernel_l2=r"$\l2$", **members)])
    ensemble = khe.HyperBatchEnsemble(network, **members)
    ensemble.compile("sgd", LOGITS, run_eagerly=True)
    rows = GENERATOR.normal(size=(40, 4)).astype("float32")
    assert r"$\l2$" in khe.report(ensemble, rows, LABELS, path=tmp_path / "r.html").read_text()
