"""Who may import whom, and what an import of the package costs."""

import ast
import graphlib
import importlib
import pathlib
import pkgutil
import subprocess
import sys

import keras
import pytest

import keras_hyperens as khe

PACKAGE = pathlib.Path(khe.__file__).parent
LATER = ("search.session", "search.stages", "search.builder")  # in the walk of a candidate
# Each room, and the rooms it must not look into; of two rooms that a file is in, the inner one counts.
FORBIDDEN = {
    "hyperparameters": ("layers", "models", "metrics", "uncertainty", "losses", "likelihoods", "plots", "search"),
    "layers": ("models", "metrics", "uncertainty", "losses", "likelihoods", "plots", "search"),
    "uncertainty": ("hyperparameters", "layers", "models", "metrics", "losses", "likelihoods", "plots", "search"),
    "calibration": ("hyperparameters", "layers", "models", "metrics", "losses", "likelihoods", "plots", "search"),
    "decisions": ("hyperparameters", "layers", "models", "metrics", "losses", "plots", "search"),
    "monitoring": ("hyperparameters", "layers", "models", "metrics", "losses", "likelihoods", "plots", "search"),
    "metrics": ("hyperparameters", "layers", "models", "losses", "likelihoods", "plots", "search"),
    "losses": ("layers", "models", "metrics", "plots", "search"),
    "likelihoods": ("hyperparameters", "losses", "layers", "models", "metrics", "plots", "search"),
    "conversion": ("models", "metrics", "uncertainty", "likelihoods", "plots", "search"),
    "models": ("metrics", "plots", "search"),
    "models/training": (
        "models.ensemble",
        "models.hyper_batch_ensemble",
        "models.hyper_deep_ensemble",
        "models.members",
    ),
    "reporting": ("layers", "losses", "hyperparameters", "search"),
    "search": ("hyperparameters", "layers", "metrics", "losses", "plots"),
    "search/tuner_hooks.py": ("hyperparameters", "layers", "models", "metrics", "losses", "plots", "search"),
    "search/grouped": ("metrics", "losses", "plots", "search.distributed.tuner_search", *LATER),
    "search/distributed": ("hyperparameters", "layers", "models", "metrics", "losses", "search.grouped", *LATER),
    "callbacks.py": ("layers", "models", "metrics", "plots", "search"),
    "plots": ("layers", "models", "metrics", "search"),
}
HOOKS = "search/tuner_hooks.py"  # what others do not promise
NEEDS_TENSORFLOW = (
    "hyperparameters/distribution.py",
    "models/",
    "callbacks.py",
    "files.py",
    "search/grouped/",
    HOOKS,
    "plots/tuning_path.py",
)
NUMPY_ONLY = (
    "sample_weights.py",
    "search/score_inputs.py",
    "search/scores.py",
    "search/selection.py",
    "search/steps.py",
    "search/bagging.py",
    "calibration/member_weights.py",
    "calibration/temperature.py",
    "calibration/conformal.py",
    "monitoring/drift.py",
    "monitoring/reference.py",
)


def imports_of(path, for_types=False):
    """Names of modules imported anywhere in a file; those only for type checkers are left out unless asked for."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not for_types and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("file", FILES)
def test_directions(file):
    found = list(imports_of(PACKAGE / file))
    assert not [name for name in found if name.startswith("keras.src")]
    for room in sorted(filter(file.startswith, FORBIDDEN), key=len)[-1:]:
        wrong = [n for n in found for other in FORBIDDEN[room] if f"{n}.".startswith(f"keras_hyperens.{other}.")]
        assert not wrong, f"{file} imports {wrong}"
    if not file.startswith(NEEDS_TENSORFLOW):
        assert not [name for name in found if name.split(".")[0] in ("tensorflow", "tensorflow_probability")]
    if file in NUMPY_ONLY:
        assert not [n for n in found if n.split(".")[0] == "keras" or n.startswith("keras_hyperens.models")]
    if not file.endswith(("space.py", "probing.py")) and (
        not file.startswith(("plots/", "reporting/", "search/")) or file in NUMPY_ONLY
    ):
        assert not [name for name in found if name.split(".")[0] in ("keras_tuner", "matplotlib")]


def test_no_circles():
    """Also none among imports for type checkers alone; what packages collect for users is no way between files."""
    modules = {file.removesuffix(".py").replace("/", "."): file for file in FILES if not file.endswith("__init__.py")}
    graph = {}
    for module, file in modules.items():
        found = [name.removeprefix("keras_hyperens.") for name in imports_of(PACKAGE / file, for_types=True)]
        graph[module] = {other for other in modules for name in found if f"{name}.".startswith(f"{other}.")}
    graphlib.TopologicalSorter(graph).prepare()  # raises an error that has the circle


def private_names_of(path):
    """Private attributes of other objects than `self`, and private modules of others, that a file touches."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            if ast.unparse(node.value) not in ("self", "cls"):
                yield ast.unparse(node)
    yield from (name for name in imports_of(path) if name.startswith(("keras_tuner.src", "tensorflow.python")))


@pytest.mark.parametrize("file", [file for file in FILES if file.startswith("search/")])
def test_one_file_touches_what_keras_tuner_does_not_promise(file):
    private = set(private_names_of(PACKAGE / file)) - {"builder._settings", "os._exit"}
    assert (file == HOOKS) == bool(private), private


def test_every_file_was_looked_at():
    assert len(FILES) > 20 and all(any(file.startswith(room) for file in FILES) for room in FORBIDDEN)


def test_public_names_exist_and_are_documented():
    for name in khe.__all__:
        assert getattr(khe, name) is not None
        assert name == "__version__" or getattr(khe, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = khe.nothing


@pytest.mark.integration  # `make check` has it, too
def test_layers_and_ensembles_import_without_tensorflow_probability_matplotlib_and_keras_tuner():
    code = """
import sys
for name in ("tensorflow_probability", "matplotlib", "keras_tuner", "tensorflow_datasets", "sklearn"):
    sys.modules[name] = None
import keras_hyperens as khe
khe.HyperBatchDense, khe.HyperparameterSpace, khe.metrics.ExpectedCalibrationError
import keras
assert keras.saving.get_registered_object("keras_hyperens>HyperBatchEnsemble")  # for `keras.models.load_model`
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.integration
def test_tensorflow_probability_is_loaded_by_those_who_ask_for_its_distributions():
    code = """
import sys
import keras_hyperens as khe
khe.HyperBatchEnsemble, khe.HyperDeepEnsembleBuilder
assert "tensorflow_probability" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_no_two_classes_share_a_registered_name():
    """Keras keeps the last one of a name, and files come back as that."""
    names = [entry.name for entry in pkgutil.walk_packages(khe.__path__, "keras_hyperens.")]
    classes = {
        each for name in names for each in vars(importlib.import_module(name)).values() if isinstance(each, type)
    }
    registered = [(keras.saving.get_registered_name(each), each) for each in classes]
    ours = [(name, each) for name, each in registered if name.startswith("keras_hyperens")]
    assert len(ours) > 50
    for name, each in ours:
        assert keras.saving.get_registered_object(name) is each, name
