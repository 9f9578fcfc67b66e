"""Every notebook runs, shortened; and what is kept is what its source put out."""

import json

import pytest

from tests.limit import LIMIT
from tests.tutorials.kernel import Kernel

runner = pytest.importorskip("tutorials.__main__", reason="jupytext and nbclient are not installed")
NOTEBOOKS = {path.stem: path for path in runner.SOURCES}
NEEDED = {"7_into_production": "onnxruntime"}  # of the extra `serving`
SHORTEST = "5_hyperparameters"
notebooks = pytest.mark.parametrize(
    "name", [pytest.param(each, marks=[] if each == SHORTEST else pytest.mark.integration) for each in NOTEBOOKS]
)


def kept(name):
    return json.loads(NOTEBOOKS[name].with_suffix(".ipynb").read_text())


def text(cell):
    return "".join(cell["source"])


@notebooks
def test_a_notebook_runs(name, tmp_path, monkeypatch):
    """One of them in a process that Jupyter starts, the others in forked ones, which need no time to import."""
    pytest.importorskip(NEEDED.get(name, "jupytext"), reason="the extra `serving` is not installed")
    if name != SHORTEST:
        monkeypatch.setattr("jupyter_client.provisioning.local_provisioner.launch_kernel", Kernel)
    notebook = runner.executed(NOTEBOOKS[name], tmp_path, is_short=True, timeout=LIMIT)
    ran = [cell for cell in notebook.cells if cell.cell_type == "code" and "colab" not in cell.metadata.get("tags", [])]
    assert all(cell.execution_count for cell in ran)


def test_there_are_nine():
    assert [name[0] for name in NOTEBOOKS] == list("123456789")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_what_is_kept_is_the_source_and_its_outputs(name):
    """In full: not those of a shortened run."""
    source, notebook = runner.read(NOTEBOOKS[name]), kept(name)
    assert [text(cell) for cell in notebook["cells"]] == [cell["source"] for cell in source.cells]
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) >= 1 and len(outputs) >= 4
    assert 0 < notebook["metadata"]["seconds"] < 600


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_how_a_notebook_begins(name):
    """A title, a badge, what it is about; then the line that installs; then what a test may shorten."""
    first, installs, parameters, *_ = kept(name)["cells"]
    assert text(first).startswith(f"# {name[0]}. ") and "colab-badge.svg" in text(first)
    assert text(installs).startswith('%pip install -q "keras-hyperens[') and installs["metadata"]["tags"] == ["colab"]
    assert parameters["metadata"]["tags"] == ["parameters"] and parameters["metadata"]["short"]
