"""The whole procedure, in one process, on a small search."""

import csv
import json
import math
import shutil

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf

import keras_hyperens as khe
from keras_hyperens.likelihoods import Gaussian
from keras_hyperens.search.assembly import trained_model
from keras_hyperens.search.scorer import mean_of
from tests.search import problem
from tests.search.problem import NLL
from tests.search.problem import blobs
from tests.search.problem import eager_model
from tests.search.problem import essence
from tests.search.problem import search


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    """One whose search has ended, for tests that leave its files as they are."""
    return search(make_builder(tmp_path_factory.mktemp("search")))


@pytest.fixture
def copy(builder, tmp_path):
    """A builder on a copy of its files, after `search` has found that nothing is left to do."""
    shutil.copytree(builder._settings.directory, tmp_path / "copy")
    return search(make_builder(tmp_path / "copy"))


def make_builder(directory, hypermodel=eager_model, **changes):
    return problem.make_builder(directory, hypermodel, **changes)


def untrainable(hp):
    raise AssertionError("a model was built")


def load(builder, candidate):
    weights = builder.pool.weights_files(candidate)[0]
    return trained_model(builder._settings.hypermodel, candidate.values, weights, candidate.build_config)


def nll(probabilities, labels):
    return -np.log(probabilities[np.arange(len(labels)), labels]).mean()


def test_every_stage_has_its_candidates(builder):
    assert [each.name for each in builder.candidates if each.stage == "search"] == [f"search-000{n}" for n in range(4)]
    assert len({json.dumps(each.values) for each in builder.candidates if each.stage == "search"}) == 4
    sets = builder.select_hyperparameters()
    assert len(sets) == 2 and sets[0].score == min(e.score for e in builder.candidates if e.stage == "search")
    runs = [each for each in builder.candidates if each.stage == "initializations"]
    assert [each.parent for each in runs] == sorted(each.name for each in sets for _ in range(2))
    assert all(each.values == next(s.values for s in sets if s.name == each.parent) for each in runs)
    assert len({each.seed for each in builder.candidates}) == 8
    assert len({each.score for each in builder.candidates}) == 8


def test_scores_are_those_of_the_predictions_on_disk_and_of_the_model(builder):
    x, y = blobs(45, seed=1)
    for candidate in builder.candidates[:5]:
        (predictions,) = builder.pool.predictions(candidate)
        np.testing.assert_allclose(nll(predictions, y), candidate.score, rtol=1e-5)
        np.testing.assert_allclose(candidate.metrics["val_nll"], candidate.score, rtol=1e-4)
    ensemble = builder.build_ensemble(1)
    np.testing.assert_allclose(
        ensemble.predict(x, verbose=0), builder.pool.predictions(builder.members[0])[0], rtol=1e-5
    )
    assert builder.members[0].score == min(each.score for each in builder.candidates)


def test_the_ensemble_is_the_greedy_selection_of_all_candidates(builder):
    x, y = blobs(45, seed=1)
    predictions = [builder.pool.predictions(each)[0] for each in builder.candidates]
    selection = khe.greedy_selection(predictions, y, 3, tolerance=-math.inf)
    ensemble = builder.build_ensemble(selection="greedy")
    assert [each.name for each in builder.members] == [builder.candidates[i].name for i in selection.members]
    assert ensemble.member_weights == selection.weights
    mean = np.average([predictions[i] for i in selection.members], 0, selection.weights)
    np.testing.assert_allclose(ensemble.predict(x, verbose=0), mean, atol=1e-6)
    scores = ensemble.evaluate(x, y, verbose=0, return_dict=True)
    np.testing.assert_allclose([scores["loss"], scores["nll"]], nll(mean, y), rtol=1e-5)
    np.testing.assert_allclose(scores["loss"], selection.trajectory[-1], rtol=1e-5)


def test_by_default_weights_are_convex_ones_shrunk_towards_counts(builder):
    predictions = [builder.pool.predictions(each)[0] for each in builder.candidates]
    problem = predictions, blobs(45, seed=1)[1], 3
    for given in ({}, {"prior_rows": 5}, {"bagging": 5}, {"stop": "total", "max_members": 2}):
        expected = khe.greedy_selection(*problem, tolerance=-math.inf, weights="convex", **{"seed": 0, **given})
        ensemble = builder.build_ensemble(**given)
        assert [each.name for each in builder.members] == [builder.candidates[i].name for i in expected.members]
        assert ensemble.member_weights == expected.weights and expected.convex is not None
    by_loss = builder.build_ensemble(metric="loss").member_weights  # a function
    assert by_loss == pytest.approx(builder.build_ensemble(selection="greedy").member_weights)
    with pytest.raises(ValueError, match=r"`selection` must be one of \('convex', 'greedy'\).*selection='best'"):
        builder.build_ensemble(selection="best")


def test_a_selection_on_other_rows_trains_nothing(builder, monkeypatch):
    monkeypatch.setattr(keras.Model, "fit", untrainable)
    x, y = blobs(50, seed=7)
    predictions = [keras.ops.softmax(load(builder, each).predict(x, verbose=0)) for each in builder.candidates]
    predictions = np.stack([keras.ops.convert_to_numpy(each) for each in predictions])
    weights = np.random.default_rng(0).uniform(size=50)
    for given in ((x, y, weights), tf.data.Dataset.from_tensor_slices((x, y)).batch(20)):
        of_rows = {"sample_weight": given[2]} if isinstance(given, tuple) and len(given) == 3 else {}
        expected = khe.greedy_selection(predictions, y, 3, tolerance=-math.inf, weights="convex", **of_rows)
        ensemble = builder.build_ensemble(validation_data=given)
        assert [each.name for each in builder.members] == [builder.candidates[i].name for i in expected.members]
        assert ensemble.member_weights == expected.weights
    with pytest.raises(ValueError, match="must have samples and labels"):
        builder.build_ensemble(validation_data=(x, None))


def test_the_cost_of_members_and_what_ensembles_score_for_it(builder, capsys):
    y, names = blobs(45, seed=1)[1], [each.name for each in builder.candidates]
    predictions = [builder.pool.predictions(each)[0] for each in builder.candidates]
    counts = [load(builder, each).count_params() for each in builder.candidates]
    expected = khe.greedy_selection(predictions, y, 3, costs=counts, cost_weight=0.01)
    builder.build_ensemble(cost="parameters", cost_weight=0.01)
    assert [each.name for each in builder.members] == [names[i] for i in expected.members]
    limit = 2.5 * min(counts)
    builder.build_ensemble(cost=lambda model: model.count_params(), max_cost=limit)
    assert sum(counts[names.index(each.name)] for each in builder.members) <= limit
    frontier = builder.cost_frontier()
    assert len(frontier) > 1 and [each.cost for each in frontier] == sorted({each.cost for each in frontier})
    assert [each.score for each in frontier] == sorted((each.score for each in frontier), reverse=True)
    for point in frontier:
        of_members = [names.index(name) for name in point.members]
        assert point.cost == sum(counts[i] for i in of_members)
        mean = np.average([predictions[i] for i in of_members], 0, point.weights)
        np.testing.assert_allclose(point.score, nll(mean, y), rtol=1e-5)
    builder.results_summary()
    printed = capsys.readouterr().out
    assert "cost" in printed.splitlines()[1] and "score of ensembles by cost" in printed
    assert f"{frontier[0].cost:.4g}  " in printed and frontier[-1].members[-1] in printed
    builder.build_ensemble(1, cost="latency")
    assert all(0 < each.cost < 60 for each in builder.cost_frontier())
    builder.build_ensemble()
    builder.results_summary()
    assert not builder.cost_frontier() and "cost" not in capsys.readouterr().out.splitlines()[1]
    for given, message in (
        ({"cost_weight": 0.1}, "require a `cost`.*cost=None"),
        ({"cost": "watts"}, r"`cost` must be one of \('parameters', 'latency'\).*cost='watts'"),
        ({"cost": lambda model: -1.0}, "a number of at least 0 for each model. Received: -1.0 of initializations-"),
    ):
        with pytest.raises(ValueError, match=message):
            builder.build_ensemble(**given)


def test_another_size_and_metric_cost_no_training(builder, monkeypatch):
    monkeypatch.setattr(keras.Model, "fit", untrainable)
    accurate = builder.build_ensemble(2, metric="accuracy", replacement=False)
    assert accurate.member_weights == (0.5, 0.5)
    deep = builder.build_deep_ensemble(2)
    best = builder.select_hyperparameters()[0]
    assert [each.name for each in builder.members] == [f"initializations-{best.name[-4:]}-{i}" for i in (1, 2)]
    assert deep.member_weights == (1.0, 1.0)
    with pytest.raises(ValueError, match="ensemble of 3 requires as many initializations.*Received: 2"):
        builder.build_deep_ensemble()


def test_the_same_call_again_trains_nothing_and_the_same_seed_finds_the_same(builder, tmp_path, monkeypatch):
    searched = [each for each in essence(builder.candidates) if each[0].startswith("search")]
    first = {"max_trials": 2, "initializations": 0, "ensemble_size": 2}
    again = search(make_builder(tmp_path / "again", **first))
    assert essence(again.candidates) == searched[:2]
    monkeypatch.setattr(keras.Model, "fit", untrainable)
    assert essence(search(make_builder(tmp_path / "again", **first)).candidates) == searched[:2]
    assert essence(search(make_builder(builder._settings.directory)).candidates) == essence(builder.candidates)


@pytest.mark.integration
def test_another_seed_finds_others_and_no_seed_is_remembered(builder, tmp_path):
    other = make_builder(tmp_path / "other", seed=1, max_trials=2, initializations=0, ensemble_size=1)
    assert search(other).candidates[0].values != builder.candidates[0].values
    unseeded = make_builder(tmp_path / "unseeded", seed=None, max_trials=2, initializations=0, ensemble_size=1)
    first = essence(search(unseeded).candidates)
    unseeded = make_builder(tmp_path / "unseeded", seed=None, max_trials=2, initializations=0, ensemble_size=1)
    assert essence(search(unseeded).candidates) == first


@pytest.mark.integration
def test_stages_one_by_one_are_the_whole(builder, tmp_path):
    steps = make_builder(tmp_path / "steps")
    arguments = dict(validation_data=blobs(45, seed=1), epochs=2, batch_size=30, verbose=0)
    steps.search_hyperparameters(*blobs(), **arguments)
    assert len(steps.candidates) == 4
    steps.train_initializations(*blobs(), **arguments)
    assert essence(steps.candidates) == essence(builder.candidates)


@pytest.mark.integration
def test_a_search_is_continued_with_more_trials(copy):
    before = [each for each in essence(copy.candidates) if each[0].startswith("search")]
    more = search(make_builder(copy._settings.directory, max_trials=6, initializations=0))
    after = [each for each in essence(more.candidates) if each[0].startswith("search")]
    assert after[:4] == before and len(after) == 6


@pytest.mark.integration
def test_weights_belong_to_their_candidates_when_the_chosen_sets_change(copy):
    changes = {"max_trials": 6, "num_hyperparameter_sets": 3, "initializations": 1}
    changed = search(make_builder(copy._settings.directory, **changes))
    assert len(changed.candidates) > 8
    x = blobs(45, seed=1)[0]
    for candidate in changed.pool.finished():
        deep = khe.HyperDeepEnsemble([load(changed, candidate)])
        np.testing.assert_allclose(deep.predict(x, verbose=0), changed.pool.predictions(candidate)[0], atol=1e-5)


@pytest.mark.integration
def test_one_set_and_same_initialization_are_the_baselines(tmp_path):
    deep = search(make_builder(tmp_path / "deep", max_trials=2, num_hyperparameter_sets=1, include_search=False))
    deep.build_ensemble(2)
    assert len({each.parent for each in deep.members}) == 1
    fixed = search(make_builder(tmp_path / "fixed", max_trials=3, initializations=None, same_initialization=True))
    assert len({each.seed for each in fixed.candidates}) == 1 and len(fixed.candidates) == 3


def test_weights_that_were_not_kept(copy):
    best = min(copy.candidates, key=lambda each: each.score)
    copy.build_ensemble()
    chosen = [each.name for each in copy.members]
    copy.pool.drop_weights([best])
    with pytest.warns(UserWarning, match="With all candidates' weights the validation score would be"):
        copy.build_ensemble()
    assert best.name in chosen and best.name not in [each.name for each in copy.members]
    assert len(copy.members) == 3


@pytest.mark.integration
def test_keep_decides_what_stays_on_disk(copy, tmp_path):
    def kept(directory):
        return sorted(path.name for path in directory.glob("**/*.weights.h5"))

    assert len(kept(copy._settings.directory)) == 8
    copy._settings.keep = "selected"
    copy.build_ensemble(2)
    assert len(kept(copy._settings.directory)) == len(copy.members) == 2
    best = search(make_builder(tmp_path / "best", keep=3))
    assert len(kept(tmp_path / "best")) == 3
    ranked = sorted(best.candidates, key=lambda each: each.score)
    assert all(best.pool.has_weights(each) for each in ranked[:3])
    assert essence(best.candidates) == essence(copy.candidates)


class Failing(keras_tuner.HyperModel):
    """Fails or diverges for some values, after the first build."""

    def build(self, hp):
        model = eager_model(hp)
        self.units = hp.get("units")
        return model

    def fit(self, hp, model, *args, **kwargs):
        if self.units > 5:
            raise RuntimeError("too many units")
        if self.units < 4:
            model.optimizer.learning_rate.assign(float("nan"))
        return model.fit(*args, **kwargs)


@pytest.mark.integration
def test_failed_and_diverged_trials_are_recorded_and_left_out(tmp_path, capsys):
    builder = search(make_builder(tmp_path, Failing(), max_trials=12, initializations=0, ensemble_size=1))
    failures = [each.failure for each in builder.candidates]
    assert len(failures) == 12 and sum(failure is None for failure in failures) >= 1
    assert any(failure and "too many units" in failure for failure in failures)
    assert any(failure and "diverged" in failure for failure in failures)
    consecutive = "".join("." if failure is None else "x" for failure in failures)
    assert "xxx" in consecutive  # KerasTuner alone stops there
    assert {each.values["units"] for each in builder.candidates if each.failure is None} <= {4, 5}
    builder.build_ensemble()
    builder.results_summary()
    assert f"{consecutive.count('x')} failed" in capsys.readouterr().out


class Broken(keras_tuner.HyperModel):
    """Fails with these words, one after the other."""

    def __init__(self, *words):
        super().__init__()
        self.words = list(words)

    def build(self, hp):
        return eager_model(hp)

    def fit(self, *args, **kwargs):
        raise RuntimeError(self.words.pop(0))


def test_when_all_fail_the_first_reason_is_said(tmp_path):
    message = "No candidate of the search.*4 candidates failed or diverged, the first one .*RuntimeError: a"
    with pytest.raises(ValueError, match=message):
        search(make_builder(tmp_path, Broken("a", "b", "b", "b"), initializations=0))


def test_the_first_three_that_fail_in_the_same_way_end_the_search(tmp_path):
    with pytest.raises(RuntimeError, match="(?s)first 3 candidates failed in the same way.*call again.*never works"):
        search(make_builder(tmp_path, Broken(*["this never works"] * 4)))
    mended = search(make_builder(tmp_path, max_trials=1, initializations=0, ensemble_size=1))
    assert [each.failure for each in mended.candidates] == [None]


def test_an_oracles_own_limit_of_failures_is_kept(tmp_path):
    oracle = keras_tuner.oracles.RandomSearchOracle(NLL, 4, max_consecutive_failed_trials=2)
    with pytest.raises(RuntimeError, match="exceeded the limit of 2"):
        search(make_builder(tmp_path, Broken(*"abcd"), tuner=oracle))


def test_summary_csv_and_scores_by_size(builder, capsys):
    builder.build_ensemble(2)
    builder.results_summary(3)
    printed, texts = capsys.readouterr().out, []
    builder.results_summary(3, print_fn=texts.append)
    assert printed == f"{texts[0]}\n" and not capsys.readouterr().out
    assert "8 candidates finished, 0 failed" in printed and "units" in printed and builder.members[0].name in printed
    with (builder.pool.directory / "candidates.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    weights = {row["name"]: float(row["weight"]) for row in rows if float(row["weight"])}
    assert weights == builder.weights_by_name()
    scores = builder.scores_by_size(4)
    y = blobs(45, seed=1)[1]
    runs = [each for each in builder.candidates if each.parent == builder.select_hyperparameters()[0].name]
    runs = [builder.pool.predictions(each)[0] for each in runs if each.stage == "initializations"]
    np.testing.assert_allclose(scores["deep ensemble"], [nll(runs[0], y), nll(np.mean(runs, 0), y)], rtol=1e-6)
    assert scores["single best"] == [min(each.score for each in builder.candidates)] * 4
    assert len(scores["hyper-deep ensemble"]) == 4 and scores["hyper-deep ensemble"][0] == scores["single best"][0]


def test_scores_of_gaussians_are_those_of_their_mixture():
    members = np.random.default_rng(0).uniform(0.5, 2.0, (3, 5, 2))
    together = mean_of(Gaussian(), members)
    np.testing.assert_allclose(together, khe.uncertainty.gaussian_mixture(members), rtol=1e-6)
    assert (together[:, 1] > members[..., 1].mean(0)).all()


def test_retraining_on_all_rows(copy):
    x, y = blobs()
    chosen = copy.build_ensemble(2)
    parents = list(copy.members)
    ensemble = copy.retrain(x, y, validation_data=blobs(45, seed=1), batch_size=30, epochs=2, verbose=0)
    assert [each.parent for each in copy.members] == [each.name for each in parents]
    assert ensemble.member_weights == chosen.member_weights
    rows = np.concatenate([x, blobs(45, seed=1)[0]]), np.concatenate([y, blobs(45, seed=1)[1]])
    hyperparameters = keras_tuner.HyperParameters()
    hyperparameters.values = dict(parents[0].values)
    keras.utils.set_random_seed(copy.members[0].seed)
    model = eager_model(hyperparameters)
    model.fit(*rows, batch_size=30, epochs=parents[0].best_epoch + 1, verbose=0)
    expected = keras.ops.softmax(model(x))
    np.testing.assert_allclose(ensemble.predict_members(x, verbose=0)[0], expected, atol=1e-5)


def test_retraining_needs_an_ensemble_and_rows_that_can_be_joined(copy):
    with pytest.raises(ValueError, match="Build an ensemble first"):
        copy.retrain(*blobs(), validation_data=blobs(45, seed=1))
    copy.build_ensemble(2)
    with pytest.raises(ValueError, match="must both be arrays, or both"):
        dataset = [blobs(45, seed=1)]
        import tensorflow as tf

        dataset = tf.data.Dataset.from_tensor_slices(blobs(45, seed=1)).batch(9)
        copy.retrain(*blobs(), validation_data=dataset, batch_size=30, epochs=2)


@pytest.mark.integration
def test_a_share_of_the_rows_for_each_candidate(tmp_path):
    seen = []

    class Spy(keras_tuner.HyperModel):
        def build(self, hp):
            return eager_model(hp)

        def fit(self, hp, model, x, y, **kwargs):
            seen.append((x, y))
            return model.fit(x, y, **kwargs)

    search(make_builder(tmp_path, Spy(), max_trials=2, initializations=0, training_subset=0.5, ensemble_size=1))
    x, y = blobs()
    for rows, labels in seen:
        assert rows.shape == (30, 2)
        places = [int(np.flatnonzero((x == row).all(1))[0]) for row in rows]
        assert len(set(places)) == 30 and (y[places] == labels).all()
    assert (seen[0][0] != seen[1][0]).any()


@pytest.mark.integration
def test_predictions_in_half_precision(tmp_path):
    builder = search(
        make_builder(tmp_path, max_trials=2, initializations=0, prediction_dtype="float16", ensemble_size=1)
    )
    assert builder.pool.predictions(builder.candidates[0])[0].dtype == "float16"
    assert builder.build_ensemble().ensemble_size == 1


@pytest.mark.parametrize(
    "tuner",
    ["tuner", "grid", "bayesian", "hyperband", "oracle"],
)
@pytest.mark.integration
def test_any_tuner_searches_and_resumes(tuner, tmp_path, monkeypatch):
    def make(changed=tuner):
        if tuner == "oracle":
            changed = keras_tuner.oracles.RandomSearchOracle(objective=NLL, max_trials=4, seed=3)
        elif tuner == "tuner":
            changed = keras_tuner.RandomSearch(eager_model, NLL, 4, seed=3, directory=tmp_path, project_name="own")
        limit = {"max_trials": 4} if tuner in ("bayesian", "grid") else {"max_trials": None}
        return make_builder(tmp_path, tuner=changed, initializations=0, ensemble_size=2, **limit)

    arguments = {"epochs": 3} if tuner == "hyperband" else {}
    first = search(make(), **arguments)
    assert len(first.candidates) >= 4
    monkeypatch.setattr(keras.Model, "fit", untrainable)
    assert essence(search(make(), **arguments).candidates) == essence(first.candidates)
    assert first.build_ensemble().ensemble_size == 2


def test_from_a_finished_keras_tuner_search(tmp_path, monkeypatch):
    def make():
        return keras_tuner.RandomSearch(eager_model, NLL, 2, seed=3, directory=tmp_path, project_name="theirs")

    tuner = make()
    x, y = blobs(45, seed=1)
    tuner.search(*blobs(), validation_data=(x, y), epochs=2, verbose=0)
    builder = khe.HyperDeepEnsembleBuilder.from_tuner(
        make(), ensemble_size=2, initializations=0, directory=tmp_path, keep="selected"
    )
    monkeypatch.setattr(keras.Model, "fit", untrainable)
    builder.search(validation_data=(x, y), verbose=0)
    assert len(builder.candidates) == 2
    ensemble = builder.build_ensemble()
    with pytest.warns(UserWarning, match="Skipping variable loading"):  # KerasTuner's own way to load
        best = tuner.get_best_models()[0]
    expected = keras.ops.softmax(best.predict(x, verbose=0))
    np.testing.assert_allclose(ensemble.predict_members(x, verbose=0)[0], expected, atol=1e-6)
    assert len(list(tmp_path.glob("theirs/**/checkpoint.weights.h5"))) == 2  # theirs: not ours to delete


@pytest.mark.integration
def test_from_tuner_with_initializations_needs_and_takes_training_rows(tmp_path):
    tuner = keras_tuner.RandomSearch(eager_model, NLL, 2, seed=3, directory=tmp_path, project_name="theirs")
    tuner.search(*blobs(), validation_data=blobs(45, seed=1), epochs=1, verbose=0)
    builder = khe.HyperDeepEnsembleBuilder.from_tuner(
        tuner, ensemble_size=2, initializations=1, directory=tmp_path, seed=0
    )
    with pytest.raises(ValueError, match="Training requires `x`"):
        builder.search(validation_data=blobs(45, seed=1))
    search(builder)
    assert [each.stage for each in builder.candidates].count("initializations") == 2


@pytest.mark.integration
def test_no_graph_of_a_training_stays_behind(tmp_path):
    from tensorflow.python.framework import ops

    settings = {"hypermodel": problem.build_model, "initializations": 0, "ensemble_size": 1}
    search(make_builder(tmp_path, max_trials=1, **settings))
    left = {name for name in ops.gradient_registry.list() if name.startswith("CustomGradient")}
    search(make_builder(tmp_path, max_trials=2, **settings))
    assert {name for name in ops.gradient_registry.list() if name.startswith("CustomGradient")} == left


@pytest.mark.integration
def test_progress_says_stage_place_score_and_time_left(tmp_path, capsys):
    search(make_builder(tmp_path, max_trials=2, initializations=1, ensemble_size=2), verbose=1)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and lines[0].startswith("search 1 of 2   score") and "remaining" in lines[0]
    assert lines[3].startswith("initializations 2 of 2") and "0:00 remaining" in lines[3]


@pytest.mark.parametrize(
    "changes,message",
    [
        (dict(ensemble_size=0), "`ensemble_size` must be an integer of at least 1"),
        (dict(max_trials=0), "max_trials=0"),
        (dict(max_trials=None), "requires `max_trials`"),
        (dict(initializations=-1), "initializations=-1"),
        (dict(max_trials=1, initializations=0), "at least as many candidates as members"),
        (dict(training_subset=0.0), "training_subset=0.0"),
        (dict(prediction_dtype="int8"), "prediction_dtype='int8'"),
        (dict(same_initialization=True), "initializations=2"),
        (dict(keep=0), "keep=0"),
        (dict(keep="some"), "keep='some'"),
        (dict(tuner="annealing"), "`tuner` must be one of"),
        (dict(tuner=keras_tuner.oracles.HyperbandOracle(objective="val_loss")), "Hyperband has its own training loop"),
        (dict(seed=-1), "seed=-1"),
    ],
)
def test_bad_settings(changes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        make_builder(tmp_path, **changes)
    assert not list(tmp_path.iterdir())


def test_wrong_types(tmp_path):
    with pytest.raises(TypeError, match="`hypermodel` must be a function"):
        make_builder(tmp_path, "model")
    with pytest.raises(TypeError, match="`tuner` must be a name"):
        make_builder(tmp_path, tuner=3)
    with pytest.raises(TypeError, match=r"`tuner` must be a `keras_tuner.Tuner`"):
        khe.HyperDeepEnsembleBuilder.from_tuner("random")


def test_bad_data_and_hypermodels_are_refused_before_any_work(tmp_path):
    x, y = blobs()
    with pytest.raises(ValueError, match="pass `validation_data` or `validation_split`"):
        make_builder(tmp_path).search(x, y)
    with pytest.raises(ValueError, match="`validation_split` must be between 0 and 1"):
        make_builder(tmp_path).search(x, y, validation_split=1.5)
    with pytest.raises(ValueError, match="must have samples and labels"):
        make_builder(tmp_path).search(x, y, validation_data=(x[:0], y[:0]))
    with pytest.raises(ValueError, match="`training_subset` requires"):
        make_builder(tmp_path, training_subset=0.5).search([[1.0]], [1], validation_data=(x, y))
    with pytest.raises(ValueError, match="cannot be built with its default hyperparameters.*a model was built"):
        search(make_builder(tmp_path, untrainable))
    with pytest.raises(ValueError, match="must return a compiled Keras model"):
        search(make_builder(tmp_path, lambda hp: "model"))
    unused = keras_tuner.HyperParameters()
    unused.Float("momentum", 0, 1)
    with pytest.raises(ValueError, match=r"does not use all given hyperparameters.*Received: \['momentum'\]"):
        search(make_builder(tmp_path, hyperparameters=unused))
    with pytest.raises(ValueError, match="`validation_data` or `validation_split`, not both"):
        search(make_builder(tmp_path), validation_split=0.2)
    assert not list(tmp_path.iterdir())


def test_shuffled_validation_rows_are_refused(tmp_path):
    import tensorflow as tf

    rows = tf.data.Dataset.from_tensor_slices(blobs(45, seed=1)).shuffle(45, reshuffle_each_iteration=True).batch(9)
    with pytest.raises(ValueError, match="do not shuffle"):
        search(make_builder(tmp_path), validation_data=rows)


def test_a_directory_of_another_search_is_refused_and_left_alone(copy):
    before = essence(copy.candidates)
    for changes, data, message in (
        (dict(seed=1), {}, r"differs in \['seed'\]"),
        (dict(), dict(epochs=3), r"differs in \['epochs'\].*Received: {'epochs': 3}, existing: {'epochs': 2}"),
        (dict(), dict(validation_data=blobs(44, seed=1)), "validation labels"),
        (dict(hypermodel=lambda hp: (hp.Int("depth", 1, 2), eager_model(hp))[1]), {}, "space"),
    ):
        with pytest.raises(ValueError, match=message):
            search(make_builder(copy._settings.directory, **changes), **data)
    assert essence(copy.candidates) == before
    small = {"max_trials": 1, "initializations": 0, "ensemble_size": 1}
    fresh = search(make_builder(copy._settings.directory, overwrite=True, **small))
    assert len(fresh.candidates) == 1


def test_processes_of_ones_own_must_agree_on_a_seed(tmp_path, monkeypatch):
    for name, value in (("ORACLE_IP", "127.0.0.1"), ("ORACLE_PORT", "1"), ("TUNER_ID", "worker0")):
        monkeypatch.setenv(f"KERASTUNER_{name}", value)
    with pytest.raises(ValueError, match="Several processes must agree on a seed"):
        search(make_builder(tmp_path, seed=None))


def test_too_few_candidates_for_the_ensemble(builder):
    with pytest.raises(ValueError, match="An ensemble of 9 requires as many candidates.*8 with weights of 8 finished"):
        builder.build_ensemble(9)
    with pytest.raises(ValueError, match="call `search` first"):
        make_builder(builder._settings.directory / "empty").build_ensemble()


def two_in_two_out(as_dictionary):
    def build(hp):
        left, right = keras.Input((2,), name="left"), keras.Input((2,), name="right")
        hidden = keras.layers.Dense(hp.Int("units", 3, 9), "relu")(keras.layers.Concatenate()([left, right]))
        size = keras.layers.Dense(1, name="size")(hidden)
        kind = keras.layers.Dense(3, name="kind")(hidden)
        model = keras.Model([left, right], {"size": size, "kind": kind} if as_dictionary else [size, kind])
        logits = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("adam", {"size": "mse", "kind": logits}, run_eagerly=True)
        return model

    return build


@pytest.mark.integration
@pytest.mark.parametrize("as_dictionary", [True, False])
def test_several_inputs_and_outputs(as_dictionary, tmp_path):
    def rows(number, seed):
        x, kind = blobs(number, seed)
        return [x, x[:, ::-1].copy()], {"size": x.sum(-1, keepdims=True), "kind": kind}

    builder = make_builder(
        tmp_path, two_in_two_out(as_dictionary), max_trials=3, initializations=0, ensemble_size=2, objective="val_loss"
    )
    x, y = rows(45, 1)
    builder.search(*rows(60, 0), validation_data=(x, y), epochs=1, verbose=0)
    ensemble = builder.build_ensemble()
    predicted = ensemble.predict(x, verbose=0)
    if not as_dictionary:
        predicted = {"size": predicted[0], "kind": predicted[1]}
    by_hand = nll(predicted["kind"], y["kind"]) + ((predicted["size"] - y["size"]) ** 2).mean()
    scores = ensemble.evaluate(x, y, verbose=0)
    np.testing.assert_allclose(scores[0] if isinstance(scores, list) else scores, by_hand, rtol=1e-5)
    first = builder.members[0]
    assert first.outputs == ("kind", "size") and first.likelihoods == ("softmax", None)
    kind, size = builder.pool.predictions(first)
    np.testing.assert_allclose(nll(kind, y["kind"]) + ((size - y["size"]) ** 2).mean(), first.score, rtol=1e-5)


@pytest.mark.integration
def test_members_of_different_architectures_and_a_strategy_for_each(tmp_path):
    import tensorflow as tf

    strategy, seen = tf.distribute.OneDeviceStrategy("CPU:0"), []

    def build(hp):
        seen.append(tf.distribute.get_strategy())
        layers = [keras.layers.Dense(4, "relu") for _ in range(hp.Int("depth", 0, 2))]
        model = keras.Sequential([*layers, keras.layers.Dense(3)])  # sees its input late
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return model

    builder = make_builder(
        tmp_path,
        build,
        tuner="grid",
        max_trials=3,
        initializations=0,
        objective="val_loss",
        distribution_strategy=strategy,
    )
    search(builder)
    ensemble = builder.build_ensemble()
    assert sorted(len(member.layers) for member in ensemble.members) == [1, 2, 3]
    assert sum(each is strategy for each in seen) >= 6  # three trainings and three members
    x, y = blobs(45, seed=1)
    np.testing.assert_allclose(nll(ensemble.predict(x, verbose=0), y), ensemble.evaluate(x, y, verbose=0), rtol=1e-5)
    ensemble.save(tmp_path / "e.keras")
    loaded = keras.models.load_model(tmp_path / "e.keras")
    np.testing.assert_allclose(loaded.predict(x, verbose=0), ensemble.predict(x, verbose=0), atol=1e-6)


@pytest.mark.integration
def test_datasets_and_validation_split_are_the_same_rows(builder, tmp_path):
    import tensorflow as tf

    validation = tf.data.Dataset.from_tensor_slices(blobs(45, seed=1)).batch(20)
    of_dataset = search(
        make_builder(tmp_path / "dataset", max_trials=1, initializations=0, ensemble_size=1), validation_data=validation
    )
    assert essence(of_dataset.candidates)[0][3] == pytest.approx(builder.candidates[4].score)
    x, y = (np.concatenate(parts) for parts in zip(blobs(), blobs(45, seed=1)))
    split = make_builder(tmp_path / "split", max_trials=1, initializations=0, ensemble_size=1)
    split.search(x, y, validation_split=45 / 105 + 1e-9, epochs=2, batch_size=30, verbose=0)
    assert split.candidates[0].score == pytest.approx(builder.candidates[4].score)
