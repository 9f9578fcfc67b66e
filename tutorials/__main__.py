"""Runs the notebooks of this folder, and stores their outputs.

    make tutorials                              # all of them
    python -m tutorials 1_first_ensemble        # one

The source of a notebook is the `.py` file with its name (Jupytext's percent format), which has readable diffs; the
`.ipynb` file adds the outputs. The metadata, and the site, contain the duration of the run.
"""

import argparse
import pathlib
import tempfile
import time
from typing import Any

import jupytext
import nbclient
import nbformat

FOLDER = pathlib.Path(__file__).parent
SOURCES = sorted(path for path in FOLDER.glob("[0-9]*.py"))


def main() -> None:
    names = [path.stem for path in SOURCES]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=names, metavar="NAME", help=", ".join(names))
    for name in parser.parse_args().names:
        source = FOLDER / f"{name}.py"
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:  # for files that it writes
            notebook = executed(source, pathlib.Path(folder))
        seconds = round(time.monotonic() - start)
        notebook.metadata["seconds"] = seconds
        write(notebook, source.with_suffix(".ipynb"))
        print(f"{name:<32}{seconds // 60}:{seconds % 60:02} min", flush=True)


def read(source: pathlib.Path) -> Any:
    """Returns the notebook of a source, without outputs, and with numbered cells for reproducibility."""
    notebook = jupytext.read(source)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata["jupytext"]["cell_metadata_filter"] = "short,tags,-all"  # Jupytext's order changes
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
    return notebook


def executed(source: pathlib.Path, folder: pathlib.Path, is_short: bool = False, timeout: int = 1800) -> Any:
    """Returns the notebook with its outputs, run in `folder`.

    The cell that installs packages on Colab is skipped. A short run adds the assignments in the metadata of the cell of
    parameters (`short`).
    """
    notebook = read(source)
    skipped = {number: cell for number, cell in enumerate(notebook.cells) if "colab" in cell.metadata.get("tags", [])}
    for number, cell in skipped.items():
        notebook.cells[number] = nbformat.v4.new_code_cell("", id=cell["id"])
    for cell in notebook.cells:
        if is_short and "short" in cell.metadata:
            cell["source"] += f"\n{cell.metadata['short']}"
    nbclient.NotebookClient(notebook, timeout=timeout, resources={"metadata": {"path": str(folder)}}).execute()
    for number, cell in skipped.items():
        notebook.cells[number] = cell
    return notebook


def write(notebook: Any, path: pathlib.Path) -> None:
    """Writes a notebook atomically, without timestamps and TensorFlow logs."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if "outputs" in cell:
            cell["outputs"] = [output for output in cell["outputs"] if not _is_log(output)]
    temporary = path.with_suffix(".tmp")
    nbformat.write(notebook, temporary)
    temporary.replace(path)


def _is_log(output: Any) -> bool:
    """Whether an output is a TensorFlow log, parts of which are on stdout."""
    logs = ("WARNING:tensorflow", "INFO:tensorflow")
    return output.get("name") == "stderr" or output.get("text", "").startswith(logs)


if __name__ == "__main__":
    main()
