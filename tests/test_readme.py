"""What README shows runs as it stands there."""

import pathlib
import re

import numpy as np

README = pathlib.Path(__file__).parent.parent / "README.md"


def test_the_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    names = {
        "x": generator.normal(size=(60, 28, 28, 1)).astype("float32"),
        "y": generator.integers(0, 10, 60),
        "x_test": generator.normal(size=(5, 28, 28, 1)).astype("float32"),
    }
    hyper_batch, hyper_deep = re.findall(r"```python\n(.*?)```", README.read_text(), re.S)
    exec(hyper_batch.replace("epochs=60", "epochs=2, verbose=0"), names)  # noqa: S102
    assert names["members"].shape == (4, 5, 10)
    shorter = hyper_deep.replace("epochs=20", "epochs=1").replace("max_trials=20", "max_trials=2, initializations=1")
    exec(shorter.replace("seed=0", "seed=0, num_hyperparameter_sets=2"), names)  # noqa: S102
    assert names["deep"].predict(names["x_test"], verbose=0).shape == (5, 10)
    made = {path.name for path in tmp_path.iterdir()}
    assert made == {"ensemble.keras", "saved_model", "deep.keras", "runs"}


def test_every_file_it_names_exists():
    text = README.read_text()
    for path in re.findall(r"\]\(((?!http)[^)]+)\)", text) + re.findall(r"`(keras_hyperens/[\w/]+(?:\.py)?)", text):
        assert (README.parent / path).exists(), path
