"""The three tasks run on little, and their measures are right."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import experiment
from benchmarks.tasks import __main__ as tasks
from benchmarks.tasks import regression
from benchmarks.tasks import segmentation
from benchmarks.tasks import text


def shortened(task):
    """A task of few rows and one epoch."""

    def load(seed):
        data = task.load(seed)
        few = {
            name: tuple(array[:20] for array in getattr(data, name))
            for name in ("train", "tuning", "validation", "test")
        }
        return replace(data, **few)

    return replace(task, load=load, schedule=experiment.Schedule(1, 1, 20), grid=task.grid[:1])


@pytest.mark.filterwarnings("ignore:All members share these layers. positions:UserWarning")
@pytest.mark.integration
@pytest.mark.parametrize("name", tasks.TASKS)
def test_a_task_on_little(name, tmp_path, monkeypatch, run, eagerly):
    """All three methods with their selection where it is cheap, and the hyper-batch ensemble where it is not."""
    results = tmp_path / "tasks.jsonl"
    methods = experiment.METHODS if name == "regression" else ("hyper-batch",)
    monkeypatch.setattr(segmentation, "SCENES", (20, 20, 20, 20))
    monkeypatch.setattr(text, "ROWS_OF_LIBRARY", 30)
    text.docstrings.cache_clear()
    monkeypatch.setitem(tasks.TASKS, name, shortened(tasks.TASKS[name]))
    printed = run(tasks, "--task", name, "--seeds", 1, "--results", results, "--methods", *methods)
    done = experiment.read(results)
    assert len(done) == (5 if len(methods) == 3 else 1) and "| hyper-batch |" in printed
    assert all(np.isfinite(value) for line in done for value in (*line["measures"].values(), line["held_out_nll"]))


def test_a_report_by_hand():
    common = {"task": "t", "epochs": 3, "seconds": 7.0}
    runs = [
        {**common, "method": method, "seed": seed, "measures": {"nll": nll, "ece": 0.1}}
        for method, nlls in (("single", (2, 2)), ("batch", (1, 2)), ("hyper-batch", (0.5, 2.5)))
        for seed, nll in enumerate(nlls)
    ]
    lines = tasks.report([*runs, {**runs[0], "seed": tasks.SELECTION_SEED}]).splitlines()
    assert lines[0] == "t: 4 members, 2 seeds"
    assert lines[-1] == "| hyper-batch | 1.5000 ± 1.0000 | 0.1000 ± 0.0000 | -0.5000 ± 1.0000 | 1 of 2 | 3 | 7 |"


def test_scenes_have_ink_where_labels_say_so():
    generator = np.random.default_rng(0)
    digits = np.ones((1, 8, 8, 1), "float32"), np.array([7])
    scenes, labels = segmentation._scenes(digits, 5, generator)
    assert scenes.shape == (5, 24, 24, 1) and set(np.unique(labels)) == {7, segmentation.BACKGROUND}
    assert scenes[labels == 7].mean() > 0.95 and abs(scenes[labels == segmentation.BACKGROUND].mean()) < 0.02


def test_mean_iou_by_hand():
    labels = np.repeat(np.arange(10), 2)
    predicted = np.where(np.arange(20) % 2, labels, segmentation.BACKGROUND)
    np.testing.assert_allclose(segmentation.mean_iou(predicted, labels), 0.5)


def test_descriptions_have_no_give_aways():
    words = text._words("A NumPy array, as `np.zeros` makes it.\n\nMore of it.\n\nParameters\n----------\nx : array")
    assert words == tuple("a array as zeros makes it more of it".split())
    assert text._words("Zeros.\n\n>>> import numpy") == ("zeros",)


def test_a_mixture_of_equal_gaussians_is_one_gaussian():
    targets = np.array([[0.0], [3.0]])
    predicted = np.zeros((3, 2, 2))
    measures = regression.measures(predicted, targets)
    nll = regression.gaussian_nll(targets, predicted[0]).numpy().mean()
    np.testing.assert_allclose(list(measures.values()), [nll, np.sqrt(4.5), 0.5], rtol=1e-6)
