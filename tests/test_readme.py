"""What README shows runs as it stands there."""

import os
import pathlib
import re
import shlex
import subprocess
import sys
import sysconfig

import keras
import numpy as np
import pytest

from benchmarks import experiment
from benchmarks import page
from benchmarks.defaults import report as defaults
from benchmarks.paper import report as paper
from benchmarks.selection import __main__ as selection

ROOT = pathlib.Path(__file__).parent.parent
README = ROOT / "README.md"
PAPER = ROOT / "benchmarks" / "paper"
PAGES = (README, ROOT / "docs" / "benchmarks.md")


mobilenet = keras.applications.MobileNetV2


def first_blocks_of_mobilenet(classes, **arguments):
    """All kinds of its layers; `tests/conversion/test_applications.py` converts all of it."""
    model = mobilenet(classes=classes, **arguments)
    features = keras.layers.GlobalAveragePooling2D()(model.get_layer("block_2_add").output)
    shorter = keras.Model(model.input, keras.layers.Dense(classes)(features))
    assert {type(layer) for layer in shorter.layers} == {type(layer) for layer in model.layers}
    return shorter


@pytest.mark.integration
def test_the_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    quickstart, deep, use, existing = re.findall(r"```python\n(.*?)```", README.read_text(), re.S)
    shorter = deep.replace("epochs=20", "epochs=1")
    shorter = shorter.replace("max_trials=20", "max_trials=2, initializations=1, num_hyperparameter_sets=2")
    monkeypatch.setattr(keras.applications, "MobileNetV2", first_blocks_of_mobilenet)
    for code in (quickstart.replace("epochs=60", "epochs=15"), shorter, use, existing):
        exec(code, names)  # noqa: S102
    ensemble, x_test, y_test = names["ensemble"], names["x_test"], names["y_test"]
    assert ensemble.space.names == ("l2", "dropout") and len(x_test) == 597
    assert ensemble.evaluate(x_test, y_test, verbose=0, return_dict=True)["accuracy"] > 0.9
    assert names["members"].shape == (4, 597, 10)
    assert names["deep"].predict(x_test, verbose=0).shape == (597, 10)
    assert names["uncertainty"]["mutual_information"].shape == (597,) and set(names["curves"]) == {"l2", "dropout"}
    for converted in ("tuned", "batch", "apart"):
        assert names[converted].ensemble_size == 4
    assert {path.name for path in tmp_path.iterdir()} == {"ensemble.keras", "saved_model", "runs", "report.html"}


def test_every_file_it_names_exists():
    text = README.read_text()
    for path in re.findall(r"\]\(((?!http)[^)]+)\)", text) + re.findall(r"`(keras_hyperens/[\w/]+(?:\.py)?)", text):
        assert (README.parent / path).exists(), path


@pytest.mark.integration
def test_the_first_example_of_the_site_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "index.md").read_text(), re.S)
    exec(code.replace("epochs=20", "epochs=2").replace("y_test)", "y_test, verbose=0)"), names)  # noqa: S102
    assert names["uncertainty"]["prediction"].shape == (797, 10) and (tmp_path / "ensemble.keras").exists()


@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed:UserWarning")  # Keras, of every `tf.data.Dataset`
@pytest.mark.integration
@pytest.mark.parametrize("guide", ["data", "tuning", "search"])
def test_the_code_of_a_guide_runs(guide, tmp_path, monkeypatch, capsys):
    """An epoch of each training, eagerly: to trace one takes longer. README's examples run in graphs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(keras.Model, "run_eagerly", property(lambda self: True, lambda self, value: None))
    code = "\n".join(re.findall(r"```python\n(.*?)```", (ROOT / "docs" / f"{guide}.md").read_text(), re.S))
    code = re.sub(r"epochs=\d+", "epochs=1", code)
    names = {}
    exec(code, names)  # noqa: S102
    ensemble, x = names["ensemble"], names["x"]
    np.testing.assert_allclose(ensemble.predict(x, verbose=0).sum(1), 1, rtol=1e-5)


def commands():
    """Shell commands that README and the page of benchmarks show: indented, or in backticks; without their comments."""
    text = "".join(page.read_text() for page in PAGES)
    indented = re.findall(r"^    ((?:make|pip|python) .*?)(?:\s+#.*)?$", text, re.M)
    return indented + re.findall(r"`((?:make|pip|python) [^`]*)`", text)


def run(command, folder, active=None, **environment):
    """A line for the shell, with a virtual environment active or with none; gives what it prints."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))}
    path = inherited["PATH"] if active is None else f"{active / 'bin'}{os.pathsep}{inherited['PATH']}"
    result = subprocess.run(
        command,
        shell=True,  # noqa: S602
        cwd=folder,
        env=inherited | {"PATH": path} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, f"{command}: {result.stdout[-2000:]}{result.stderr[-2000:]}"
    return result.stdout


def test_every_command_exists():
    """Each target of make, each module, and each of its options."""
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
    found = commands()
    assert {"make demo", "make test", "pip install .", "make test-all", "make check", "make benchmark"} <= set(found)
    for command in found:
        program, first, *rest = shlex.split(command)
        if program == "make":
            assert first in targets, command
        elif program == "python":
            module = ROOT / rest[0].replace(".", "/")
            files = [module.with_suffix(".py")] if module.with_suffix(".py").exists() else sorted(module.glob("*.py"))
            source = "".join(file.read_text() for file in files)
            shared = (ROOT / "benchmarks" / "experiment.py").read_text()
            assert first == "-m" and source, command
            for option in rest[1:]:
                assert not option.startswith("--") or f'"{option}"' in source + shared, command


@pytest.mark.parametrize("path", page.PAGES, ids=lambda path: path.name)
def test_tables_are_those_of_the_results(path):
    """`python -m benchmarks.page` changes nothing."""
    text = path.read_text()
    assert "<!-- table: " in text and page.filled(text) == text


@pytest.mark.parametrize(
    ("name", "report"),
    [
        ("paper", lambda: paper.report(experiment.runs_of(PAPER), experiment.read(PAPER / "sizes.jsonl"))),
        ("defaults", lambda: defaults.report(defaults.runs_of(ROOT / "benchmarks" / "defaults"))),
        ("selection", lambda: selection.report.tables(selection.lines())),
    ],
)
def test_pages_of_benchmarks_have_what_their_commands_print(name, report):
    assert report() in (ROOT / "benchmarks" / name / "README.md").read_text()


@pytest.mark.integration
def test_a_newcomers_walk(tmp_path):
    """The commands of README, one after the other, in a fresh clone.

    New environments see the packages that are installed here (a `.pth` file), so nothing large is downloaded. The demo
    trains less, and of `make test`, which runs on every change anyway, one test is run.
    """
    clone = tmp_path / "clone"
    for name in run("git ls-files --cached --others --exclude-standard", ROOT).splitlines():
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            (clone / name).write_bytes((ROOT / name).read_bytes())
    made = with_those_that_are_here(clone / ".venv", "--without-pip")  # as make calls venv, pip comes
    own = with_those_that_are_here(tmp_path / "own")
    run("make .venv/installed", clone)  # by itself, since pip may warn
    said = run("make demo ARGS='--epochs 1 --trials 2' 2>errors", clone)
    assert (clone / "errors").read_text() == ""
    assert said.count("The hyper-") >= 3 and "deep ensemble's (" in said
    assert said.count("serves the same predictions") == 2
    assert (clone / "demo_output" / "demo.png").stat().st_size > 20_000
    *_, look, more, report = (line for line in said.splitlines() if not line.startswith("make["))  # of a make in a make
    assert look.startswith("Look at") and more.startswith("Try next") and report.startswith("Report")
    assert (clone / "demo_output" / "report.html").stat().st_size > 100_000
    one = {"WORKERS": "0", "PYTEST_ADDOPTS": "tests/test_imports.py -k test_public_names_exist_and_are_documented"}
    assert "1 passed" in run("make test", clone, **one)
    assert list(made.glob("__editable__*"))
    assert "Successfully installed keras-hyperens" in run("pip install .", clone, active=own.parents[2])
    where = run("python -c 'import keras_hyperens; print(keras_hyperens.__file__)'", tmp_path, active=own.parents[2])
    assert where.strip() == str(own / "keras_hyperens" / "__init__.py")


def with_those_that_are_here(place, *options):
    """The packages' folder of a new virtual environment that sees what is installed in this one."""
    run(shlex.join([sys.executable, "-m", "venv", *options, str(place)]), place.parent)
    packages = next((place / "lib").glob("python*/site-packages"))
    (packages / "those_that_are_here.pth").write_text(sysconfig.get_paths()["purelib"])
    return packages
