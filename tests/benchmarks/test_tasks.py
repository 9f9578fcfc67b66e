"""The three tasks run on little, and their measures are right."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.methods import Schedule
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

    return replace(task, load=load, schedule=Schedule(1, 1, 20), grid=task.grid[:1])


@pytest.mark.filterwarnings("ignore:All members share these layers. positions:UserWarning")
@pytest.mark.integration
@pytest.mark.parametrize("name", tasks.TASKS)
def test_a_task_is_restartable_and_reports_paired_wins(name, tmp_path, monkeypatch, capsys, eagerly):
    results = tmp_path / "tasks.jsonl"
    monkeypatch.setattr(segmentation, "SCENES", (20, 20, 20, 20))
    monkeypatch.setattr(text, "ROWS_OF_LIBRARY", 30)
    text.docstrings.cache_clear()
    monkeypatch.setitem(tasks.TASKS, name, shortened(tasks.TASKS[name]))
    monkeypatch.setattr(sys, "argv", ["tasks", "--task", name, "--seeds", "1", "--results", str(results)])
    tasks.main()
    lines = results.read_text().splitlines()
    assert len(lines) == 5 and "| hyper-batch |" in capsys.readouterr().out
    tasks.main()
    assert results.read_text().splitlines() == lines


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
