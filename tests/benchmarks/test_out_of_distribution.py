"""The out-of-distribution benchmark: its strange images, and all of it on little."""

import numpy as np
import pytest

from benchmarks import data
from benchmarks import experiment
from benchmarks import out_of_distribution
from benchmarks import shifts

GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.uniform(size=(6, 28, 28, 1)).astype("float32")


@pytest.mark.parametrize("name", shifts.CORRUPTIONS)
def test_corruptions_keep_the_range_and_grow(name):
    corrupted = [shifts.CORRUPTIONS[name](IMAGES, strength) for strength in shifts.STRENGTHS]
    distances = [np.abs(each - IMAGES).mean() for each in corrupted]
    assert distances == sorted(distances) and distances[0] > 0
    for each in corrupted:
        assert each.shape == IMAGES.shape and each.dtype == np.float32 and each.min() >= 0 and each.max() <= 1


def test_strange_images():
    np.testing.assert_array_equal(shifts.rotated(IMAGES)[2, :, :, 0], np.rot90(IMAGES[2, :, :, 0]))
    color = np.zeros((1, 32, 32, 3), "float32")
    color[0, 2, 2, 1] = 1
    luma = shifts.gray(color, 28)
    assert luma.shape == (1, 28, 28, 1)
    np.testing.assert_allclose(luma[0, 0, 0, 0], 0.587, rtol=1e-6)


def small(name, *_):
    shape = (10, 10, 3) if name == "cifar10_jpeg" else (8, 8, 1)

    def rows(count):
        return GENERATOR.uniform(size=(count, *shape)).astype("float32"), np.arange(count) % 10

    return data.Data(name, rows(30), rows(20), rows(20), rows(20))


@pytest.mark.integration
def test_on_little(tmp_path, monkeypatch, run, eagerly):
    monkeypatch.setattr(experiment, "schedule_of", lambda _: experiment.Schedule(1, 1, 30))
    monkeypatch.setattr(out_of_distribution, "load", small)
    monkeypatch.setattr(shifts, "STRENGTHS", (1, 5))
    arguments = ["--seeds", 1, "--trials", 2, "--ensemble-size", 2, "--directory", tmp_path / "searches"]
    arguments += ["--results", tmp_path / "ood.jsonl", "--plot", tmp_path / "corruptions.png"]
    printed = run(out_of_distribution, *arguments)
    done = experiment.read(tmp_path / "ood.jsonl")
    assert [run["method"] for run in done] == list(out_of_distribution.METHODS)
    assert "| hyper-deep ensemble |" in printed and (tmp_path / "corruptions.png").stat().st_size > 20_000
    for each in done:
        assert all(0 <= score <= 1 for by_measure in each["auroc"].values() for score in by_measure.values())
    single = done[0]["auroc"]["CIFAR-10 in gray"]
    assert single["mutual_information"] == pytest.approx(0.5, abs=0.01)  # one member cannot disagree


def test_curves_are_means_over_seeds():
    def one(seed, nll):
        by_strength = [{"nll": nll + strength} for strength in shifts.STRENGTHS]
        return {"method": out_of_distribution.METHODS[0], "seed": seed, "nll": nll, "corrupted": {"noise": by_strength}}

    done = [one(0, 1.0), one(1, 2.0)]
    curves = out_of_distribution.curves(done, "noise", "nll")
    assert curves == {out_of_distribution.METHODS[0]: [1.5, 2.5, 3.5, 4.5, 5.5, 6.5]}


def test_smaller_images_fit_into_larger_ones():
    images = np.arange(2 * 2 * 3, dtype="float32").reshape(2, 2, 3, 1)
    fitted = shifts.fitted(images, (5, 5, 3))
    assert fitted.shape == (2, 5, 5, 3)
    for color in range(3):
        np.testing.assert_array_equal(fitted[:, 1:3, 1:4, color], images[..., 0])
    assert fitted.sum() == 3 * images.sum()
