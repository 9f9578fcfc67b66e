"""What the demo splits and concludes. (Its run as a whole: tests/test_readme.py.)"""

import numpy as np

from examples import demo


def test_samples_are_split_without_overlap(monkeypatch):
    labels = np.arange(5000)
    monkeypatch.setattr(demo, "mnist_data", lambda: (np.full((5000, 784), labels[:, None] / 4999 * 255), labels))
    data, other = demo.load(0), demo.load(1)
    assert [len(labels) for _, labels in data] == [1000, 750, 750, 2500]
    images, labels = (np.concatenate(parts) for parts in zip(*data))
    assert images.shape == (5000, 28, 28, 1) and sorted(labels) == list(range(5000))
    np.testing.assert_allclose(images[:, 3, 4, 0], labels / 4999, atol=1e-6)
    np.testing.assert_array_equal(data.held_out[1], np.concatenate([data.tuning[1], data.validation[1]]))
    assert (data.test[1] != other.test[1]).any()


class Constant:
    """Predicts one probability of the true class for each sample, after its calibration 0.9."""

    def __init__(self, right):
        self.right = np.array(right)

    def predict(self, images, **options):
        return np.stack([self.right, 1 - self.right], axis=1)

    def calibrate(self, images, labels, **options):
        self.right = np.full(len(self.right), 0.9)


def test_conclusions_by_hand(capsys):
    zeros = (np.zeros((2, 1)), np.zeros(2, "int64"))
    probabilities = {
        "single network": [0.5, 0.5],
        "batch ensemble": [0.6, 0.6],
        "hyper-batch ensemble": [0.6, 0.7],
        "deep ensemble": [0.6, 0.5],
        "hyper-deep ensemble": [0.5, 0.5],
    }
    demo.compare({name: Constant(right) for name, right in probabilities.items()}, demo.Data(*[zeros] * 4))
    lines = capsys.readouterr().out.splitlines()
    single = next(line for line in lines if line.startswith("single")).split()
    assert single[2:] == ["0.6931", "1.0000", "0.5000", f"{-np.log(0.9):.4f}"]
    gains = np.log([0.5 / 0.6, 0.5 / 0.7])
    error = gains.std() / np.sqrt(2)
    first = f"{-gains.mean() / np.log(2):.1%} lower than the single network's ({gains.mean():+.4f} ± {error:.4f})."
    assert lines[-3] == f"The hyper-batch ensemble's NLL is {first}"
    assert lines[-2].endswith(", which may be chance).") and "lower" in lines[-2]
    assert "higher than the deep ensemble's" in lines[-1] and lines[-1].endswith(", which may be chance).")
