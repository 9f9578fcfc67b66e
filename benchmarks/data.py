"""Image classification data for demo and benchmarks: scikit-learn's digits, or any TFDS set."""

from dataclasses import dataclass
from dataclasses import replace

import numpy as np

Rows = tuple[np.ndarray, np.ndarray]  # images in [0, 1], labels


@dataclass(frozen=True)
class Data:
    """Rows for training, for tuning hyperparameters, for validation (stopping, choosing), and for the test."""

    name: str
    train: Rows
    tuning: Rows
    validation: Rows
    test: Rows

    @property
    def image_shape(self) -> tuple[int, ...]:
        return self.train[0].shape[1:]

    @property
    def num_classes(self) -> int:
        return int(self.train[1].max()) + 1

    @property
    def held_out(self) -> Rows:
        """Tuning and validation rows together."""
        inputs, labels = (np.concatenate(parts) for parts in zip(self.tuning, self.validation))
        return inputs, labels

    @property
    def one_hot(self) -> "Data":
        """The same rows, but for the test rows with labels in the form that label smoothing needs."""
        identity = np.eye(self.num_classes, dtype="float32")
        parts = {name: getattr(self, name) for name in ("train", "tuning", "validation")}
        return replace(self, **{name: (images, identity[labels]) for name, (images, labels) in parts.items()})


def load(name: str, data_dir: str | None = None, train_rows: int = 10_000, held_out_rows: int = 2_000) -> Data:
    """Loads a data set and splits it, the same way every time; without `data_dir` TFDS reads `TFDS_DATA_DIR`.

    `digits` is small and always there: 500 rows to train, 250 to tune, 250 to validate, 797 to test. Every other name
    is TFDS's: the first `train_rows` of its training rows, shuffled once, then twice `held_out_rows`; its test rows.
    """
    if name == "digits":
        rows, test = _digits()
        train_rows, held_out_rows = 500, 250
    else:
        rows, test = _tfds(name, data_dir)
    order = np.random.default_rng(0).permutation(len(rows[1]))
    ends = np.cumsum([train_rows, held_out_rows, held_out_rows])
    if ends[-1] > len(order):
        raise ValueError(f"{name} has {len(order)} training rows. Received: {ends[-1]} asked for")
    parts = [(rows[0][part], rows[1][part]) for part in np.split(order, ends)[:3]]
    return Data(name, *parts, test)


def _digits() -> tuple[Rows, Rows]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images, labels = (digits.images[..., None] / 16).astype("float32"), digits.target
    order = np.random.default_rng(1).permutation(len(labels))
    rows, test = order[:1000], order[1000:]
    return (images[rows], labels[rows]), (images[test], labels[test])


def _tfds(name: str, data_dir: str | None) -> tuple[Rows, Rows]:
    import tensorflow_datasets as tfds

    sets = tfds.load(name, data_dir=data_dir, download=data_dir is None, batch_size=-1, as_supervised=True)
    train, test = (
        ((images / 255).astype("float32"), labels.astype("int64"))
        for images, labels in (tfds.as_numpy(sets[split]) for split in ("train", "test"))
    )
    return train, test
