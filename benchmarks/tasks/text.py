"""Text: which library a docstring is from, by a small Transformer.

The docstrings are those of the libraries that are installed with this package, so the rows depend on their versions.
"""

import ast
import collections
import functools
import importlib.util
import pathlib
import re
from collections.abc import Iterator
from dataclasses import asdict

import keras
import keras_tuner
import numpy as np

from benchmarks import experiment
from benchmarks.data import Data
from benchmarks.experiment import Hypermodel
from benchmarks.experiment import Schedule
from benchmarks.experiment import classifier
from benchmarks.tasks.task import Task
from benchmarks.tasks.task import tuned

LIBRARIES = ("numpy", "scipy", "sklearn", "matplotlib", "keras", "tensorflow_probability")
ROWS_OF_LIBRARY, ROWS_OF_FILE = 400, 8
TEST_PART, HELD_OUT_PARTS = 0.25, (0.125, 0.125)  # to tune and to validate: so half of the rows are to train
WORDS, LENGTH = 1500, 40  # of the vocabulary, of a row
GIVE_AWAYS = {*LIBRARIES, "np", "tf", "tfp", "tfd", "tfb", "plt", "mpl", "pyplot", "scikit", "learn", "tensorflow"}
SECTION = re.compile(  # where the description ends: how parameters are listed gives the library away
    r"^\s*(?:(?:args|arguments|parameters|returns?|raises|yields|attributes|examples?|usage|notes?|references|see also|"
    r"input shape|output shape|call arguments|other parameters|methods|warnings?)\s*:?\s*$|-{3,}|#{2,}|```|\.\. |>>>)",
    re.IGNORECASE | re.MULTILINE,
)


def load(seed: int) -> Data:
    """Rows of one source file are all in the same part. Test rows are always the same."""
    files = docstrings()
    rows, test = _cut(files, TEST_PART, 0)
    tuning_part, validation_part = HELD_OUT_PARTS
    rows, tuning = _cut(rows, tuning_part / (1 - TEST_PART), seed)
    train, validation = _cut(rows, validation_part / (1 - TEST_PART - tuning_part), seed + 1)
    vocabulary = _vocabulary([words for file in train for words in file[1]])
    parts = [_encoded(part, vocabulary) for part in (train, tuning, validation, test)]
    return Data("docstrings", *parts)


File = tuple[int, list[tuple[str, ...]]]  # number of the library, words of each docstring


def _cut(files: list[File], part: float, seed: int) -> tuple[list[File], list[File]]:
    """All files but those of the last `part` of rows, and these."""
    order = np.random.default_rng(seed).permutation(len(files))
    ends = np.cumsum([len(files[number][1]) for number in order])
    first = int(np.searchsorted(ends, (1 - part) * ends[-1]))
    return [files[number] for number in order[:first]], [files[number] for number in order[first:]]


@functools.cache
def docstrings() -> list[File]:
    """Different descriptions of public functions and classes, by source file."""
    seen: set[tuple[str, ...]] = set()
    files = []
    for number, library in enumerate(LIBRARIES):
        left = ROWS_OF_LIBRARY
        for path in _sources(library):
            found = [words for words in map(_words, _documented(path)) if len(words) >= 8 and words not in seen]
            rows = list(dict.fromkeys(found))[: min(left, ROWS_OF_FILE)]
            seen.update(rows)
            left -= len(rows)
            files += [(number, rows)] if rows else []
            if not left:
                break
    return files


def _sources(library: str) -> list[pathlib.Path]:
    spec = importlib.util.find_spec(library)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"The text task needs {library}: install the extras `plots` and `dev`")
    root = pathlib.Path(spec.submodule_search_locations[0])
    paths = sorted(path for path in root.rglob("*.py") if "test" not in str(path.relative_to(root)))
    return [paths[number] for number in np.random.default_rng(0).permutation(len(paths))]


def _documented(path: pathlib.Path) -> Iterator[str]:
    """Docstrings of the public functions and classes of a file, read without importing it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield ast.get_docstring(node) or ""


def _words(docstring: str) -> tuple[str, ...]:
    """The words of the description, without the libraries' names."""
    description = SECTION.split(docstring, maxsplit=1)[0].lower()
    return tuple(word for word in re.findall(r"[a-z]+", description) if word not in GIVE_AWAYS)


def _vocabulary(rows: list[tuple[str, ...]]) -> dict[str, int]:
    """Numbers of the most frequent words; 0 is padding, 1 any other word."""
    counts = collections.Counter(word for words in rows for word in words)
    return {word: number for number, (word, _) in enumerate(counts.most_common(WORDS - 2), 2)}


def _encoded(files: list[File], vocabulary: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    rows = [[vocabulary.get(word, 1) for word in words[:LENGTH]] for _, each in files for words in each]
    padded = np.array([row + [0] * (LENGTH - len(row)) for row in rows], "int32")
    return padded, np.array([number for number, each in files for _ in each])


@keras.saving.register_keras_serializable("benchmarks")
class Positions(keras.layers.Layer):
    """Adds a vector for each place in the row: an ordinary layer of a user's own, which all members share."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.vectors = self.add_weight(shape=input_shape[1:], initializer="random_normal", name="vectors")
        self.supports_masking = True

    def call(self, rows: keras.KerasTensor) -> keras.KerasTensor:
        return rows + self.vectors


def hypermodel(data: Data, schedule: Schedule, width: int = 32) -> Hypermodel:
    def build_model(hp: keras_tuner.HyperParameters) -> keras.Model:
        l2, dropout = tuned(hp, (1e-5, 1e-2), (0.2, 0.6))

        def block(rows: keras.KerasTensor) -> keras.KerasTensor:
            # No normalization before attention: it makes young embeddings as loud as trained ones.
            attended = keras.layers.MultiHeadAttention(2, width // 2, kernel_regularizer=l2)(rows, rows)
            rows = keras.layers.Add()([rows, keras.layers.Dropout(dropout)(attended)])
            hidden = keras.layers.Dense(2 * width, activation="relu", kernel_regularizer=l2)(
                keras.layers.LayerNormalization()(rows)
            )
            hidden = keras.layers.Dense(width, kernel_regularizer=l2)(hidden)
            return keras.layers.Add()([rows, keras.layers.Dropout(dropout)(hidden)])

        inputs = keras.Input((LENGTH,), dtype="int32")
        rows = keras.layers.Embedding(WORDS, width, mask_zero=True, embeddings_regularizer=l2)(inputs)
        rows = block(keras.layers.Dropout(dropout)(Positions()(rows)))
        rows = keras.layers.GlobalAveragePooling1D()(rows)
        outputs = keras.layers.Dense(len(LIBRARIES), kernel_regularizer=l2)(keras.layers.Dropout(dropout)(rows))
        return classifier(keras.Model(inputs, outputs), data, schedule)

    return build_model


def measures(members: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    return asdict(experiment.scores(members.mean(0), labels))


TASK = Task(
    "text",
    load,
    hypermodel,
    measures,
    Schedule(epochs=16, patience=6, batch_size=32, learning_rate=3e-3),
    tuple({"l2": l2, "dropout": dropout} for l2 in (1e-4, 1e-3) for dropout in (0.3, 0.5)),
)
