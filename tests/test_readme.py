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
        "y_test": np.arange(5),
        "x_val": generator.normal(size=(12, 28, 28, 1)).astype("float32"),
        "y_val": np.arange(12) % 10,
        "strange": generator.normal(size=(5, 28, 28, 1)).astype("float32"),
    }
    both, use, convert, know = re.findall(r"```python\n(.*?)```", README.read_text(), re.S)
    shorter = both.replace("epochs=60", "epochs=2, verbose=0").replace("epochs=20", "epochs=1")
    shorter = shorter.replace("max_trials=20", "max_trials=2, initializations=1, num_hyperparameter_sets=2")
    for code in (shorter, use, know, convert):
        exec(code, names)  # noqa: S102
    assert names["ensemble"].hyperparameters.names == ("l2", "dropout")
    assert names["members"].shape == (4, 5, 10)
    for ensemble in ("ensemble", "deep"):
        assert names[ensemble].predict(names["x_test"], verbose=0).shape == (5, 10)
    assert names["said"]["mutual_information"].shape == (5,) and set(names["curves"]) == {"l2", "dropout"}
    for ensemble in ("tuned", "batch", "apart"):
        assert names[ensemble].ensemble_size == 4
    assert {path.name for path in tmp_path.iterdir()} == {"ensemble.keras", "saved_model", "runs", "report.html"}


def test_every_file_it_names_exists():
    text = README.read_text()
    for path in re.findall(r"\]\(((?!http)[^)]+)\)", text) + re.findall(r"`(keras_hyperens/[\w/]+(?:\.py)?)", text):
        assert (README.parent / path).exists(), path
