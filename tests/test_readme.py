"""What README shows runs as it stands there."""

import pathlib
import re

import numpy as np

README = pathlib.Path(__file__).parent.parent / "README.md"


def test_the_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    example = re.search(r"```python\n(.*?)```", README.read_text(), re.S).group(1)
    generator = np.random.default_rng(0)
    names = {
        "x": generator.normal(size=(60, 28, 28, 1)).astype("float32"),
        "y": generator.integers(0, 10, 60),
        "x_test": generator.normal(size=(5, 28, 28, 1)).astype("float32"),
    }
    exec(example.replace("epochs=60", "epochs=2, verbose=0"), names)  # noqa: S102
    assert names["members"].shape == (4, 5, 10)
    assert {path.name for path in tmp_path.iterdir()} == {"ensemble.keras", "saved_model"}


def test_every_file_it_names_exists():
    text = README.read_text()
    for path in re.findall(r"\]\(((?!http)[^)]+)\)", text) + re.findall(r"`(keras_hyperens/[\w/]+(?:\.py)?)", text):
        assert (README.parent / path).exists(), path
