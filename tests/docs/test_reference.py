"""Every public name is on an API page, and every message on the page of messages."""

import importlib
import inspect
import pathlib
import re
import types

import pytest

import keras_hyperens as khe
from docs.tools import advice
from docs.tools import drawing
from docs.tools import messages

DOCS = pathlib.Path(__file__).parents[2] / "docs"
DOCUMENTED = re.findall(r"^::: (\S+)$", "\n".join(p.read_text() for p in sorted(DOCS.glob("api/*.md"))), re.M)
MODULES = (
    "calibration",
    "callbacks",
    "conversion",
    "decisions",
    "hyperparameters",
    "layers",
    "losses",
    "metrics",
    "models",
    "monitoring",
    "plots",
)
MODULES = (*MODULES, "reporting", "search", "uncertainty")
NOT_DOCUMENTED = {"keras_hyperens.__version__"}


def object_at(path):
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        return importlib.import_module(path)


def public_names():
    yield from (f"keras_hyperens.{name}" for name in khe.__all__)
    for module in MODULES:
        path = f"keras_hyperens.{module}"
        for name, value in vars(importlib.import_module(path)).items():
            is_ours = getattr(value, "__module__", "").startswith("keras_hyperens")
            if is_ours and not name.startswith("_") and not isinstance(value, types.ModuleType):
                yield f"{path}.{name}"


@pytest.mark.parametrize("module", MODULES)
def test_all_that_is_public_is_in_all(module):
    path = f"keras_hyperens.{module}"
    public = {name.rpartition(".")[2] for name in public_names() if name.rpartition(".")[0] == path}
    assert public == set(importlib.import_module(path).__all__)


@pytest.mark.parametrize("path", sorted(set(public_names()) - NOT_DOCUMENTED))
def test_a_public_name_is_documented(path):
    value = object_at(path)
    assert inspect.getdoc(value)
    if not isinstance(value, types.ModuleType):
        assert any(object_at(each) is value for each in DOCUMENTED), f"put `::: {path}` on a page of docs/api"
    else:
        index = (DOCS / "api" / "index.md").read_text()
        assert f"`khe.{path.rpartition('.')[2]}`" in index


def test_nothing_is_documented_twice():
    assert len(DOCUMENTED) == len(set(DOCUMENTED)) > 90


def test_the_list_of_messages_has_each_and_what_to_do():
    listed = messages.listing()
    assert all(" ".join(message.text.split()) in listed for message in messages.messages())
    modules = {message.module.removeprefix("keras_hyperens.") for message in messages.messages()}
    assert set(advice.MODULES) <= modules and all(text in listed for text in advice.MODULES.values())


def test_the_page_has_messages_of_every_form():
    said = {(message.function, message.text) for message in messages.messages()}
    texts = [text for _, text in said]
    assert ("HyperBatchDense.__init__", "`units` must be a positive integer. Received: units=…") in said  # an f-string
    assert any(text.startswith("No tuning data: hyperparameters are drawn") for text in texts)  # a warning
    assert any(text == "Candidates are trained one at a time: …" for text in texts)  # a constant of the module
    assert any(text.startswith("A single member can be extracted from") for text in texts)  # an error that is returned
    assert any("candidates failed or diverged, the first one" in text for text in texts)  # the text of a function


def test_every_statement_that_raises_is_seen():
    """As many as a plain search for `raise` with a text finds."""
    raised = re.compile(r"raise (?:\w+\.)*\w*Error\(\s*f?[\"']")
    found = sum(len(raised.findall(path.read_text())) for path in (DOCS.parent / "keras_hyperens").rglob("*.py"))
    kinds = [message for message in messages.messages() if message.kind.endswith("Error")]
    assert len(kinds) >= found > 150


def test_drawings_are_fresh():
    for name, text in drawing.drawings().items():
        assert (drawing.IMAGES / name).read_text() == text, "run `python -m docs.tools.drawing`"
